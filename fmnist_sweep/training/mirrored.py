"""Answers for an image and its mirror image (`train.test_flip`)."""

from __future__ import annotations

import keras


def with_mirror_images(model: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a model that answers with the mean of what a trained model answers for an image and
    for its mirror image, left and right exchanged. It has the model's weights, in their order, and
    is saved and loaded without any code."""
    model.optimizer, model.compiled = None, False
    images = keras.Input(image_shape, name="images")
    mirror_images = keras.ops.flip(images, axis=2)
    answers = keras.layers.Average()([model(images), model(mirror_images)])
    return keras.Model(images, answers, name=f"{model.name}_mirrored")
