def pictures_of(source):
    return [], []


def comparison_pictures(sources):
    return []
