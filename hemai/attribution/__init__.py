"""Which pixels a network's decision rests on."""
