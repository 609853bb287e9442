HELD = bytearray(1 << 45)
