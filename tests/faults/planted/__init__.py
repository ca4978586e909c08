"""Bugs that are planted into a copy of the tree, to prove that the suite catches them."""
