"""Cases of crates/dropforge/tests/data, by family; scripts/golden_training.py writes them."""
