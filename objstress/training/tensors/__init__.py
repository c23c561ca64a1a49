"""Fits of networks that predict a crystal's property tensors."""
