"""Figures that anyone can repeat: the order saga here, and the same saga on other engines.

No part of the package. The modules `*_app`, which the other engines run, and what they import of
this folder, need nothing but the standard library and the engine itself.
"""
