"""Preparations: examples -> named tensors, fitted on training rows alone, the same bits wherever they are applied."""
