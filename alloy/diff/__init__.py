"""``alloy diff``: where float network, fake quantization, integer network and RTL part."""
