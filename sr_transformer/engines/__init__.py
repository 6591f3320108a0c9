"""Search engines that go on from proposed formulas."""
