def render(title, duties, data, checked, models, scores, version):
    return f"<h1>{title}</h1>"
