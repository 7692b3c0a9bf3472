#!/usr/bin/env python3
"""Writes the conformance cases under cases/conformance/: programs, inputs, and what PyTorch says they give.

Run it from anywhere after changing a case in scripts/golden_cases/:  python3 scripts/golden.py
It needs numpy and torch; the tests that read the files need neither.
"""

from golden_cases import (
    attention,
    composed,
    contraction,
    elementwise,
    half,
    indexing,
    loops,
    movement,
    programs,
    reduction,
    scan,
    window,
)
from golden_cases.write import write_files

elementwise.unary_cases()
elementwise.binary_cases()
elementwise.compare_cases()
elementwise.cast_cases()
movement.movement_cases()
reduction.reduce_cases()
contraction.dot_cases()
contraction.convolution_cases()
window.pooling_cases()
indexing.gather_cases()
indexing.random_cases()
scan.scan_cases()
loops.loop_cases()
attention.attention_cases()
composed.composed_cases()
programs.program_cases()
half.half_cases()
write_files()
