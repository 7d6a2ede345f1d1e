//! The model against formulas of its own kind: written down another way, for small figures.
