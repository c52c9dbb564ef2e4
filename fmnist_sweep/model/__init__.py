"""Networks: planned without Keras, built in Keras, described as here or as in the article.

This module imports nothing: `plan` and `article` work without Keras, `builder` and `wrapper` load
it.
"""
