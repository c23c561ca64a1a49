"""The mean response of periodic cells."""
