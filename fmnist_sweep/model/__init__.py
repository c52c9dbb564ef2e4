"""Networks: planned on paper, built in Keras, described as we do or as the article does.

Nothing is imported here: `plan` and `article` work without Keras, `builder` and `wrapper` load it.
"""
