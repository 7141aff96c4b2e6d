//! The thin actors of pilot and agent and their supervision trees.
