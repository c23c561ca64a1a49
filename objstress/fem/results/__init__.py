"""Results as VTX for ParaView and as plots."""
