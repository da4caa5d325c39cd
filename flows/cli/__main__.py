"""``python -m mlratchet.flows.cli`` is `ratchet`: what a command becomes in a fork of the warm process."""

from mlratchet.flows.cli.entry import main

if __name__ == "__main__":
    main()
