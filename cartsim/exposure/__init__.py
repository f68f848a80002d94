"""Exposure-response analyses: what exposure tells of response, survival and safety, and what dose tells of exposure."""
