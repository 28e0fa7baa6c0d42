"""stnlab: how should a network look at a transformed image?"""
