"""Gradients of the ops that call functions."""

from __future__ import annotations
