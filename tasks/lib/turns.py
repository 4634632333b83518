"""Chat templates: one for a base that has none, and what makes one of a base say the same whenever it is rendered."""

from typing import Any

TURN, TURN_END = "<|im_start|>", "<|im_end|>"
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# roles are plain text, and a turn ends with the end token: the model stops there, and no data can write it
PLAIN = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '' if loop.first else '\n' }}{{ '<|' + message['role'] + '|>\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n<|assistant|>\n' }}{% endif %}"
)
SETTLED = {
    "enable_thinking": "{%- set enable_thinking = false %}",
    "strftime_now": "{%- macro strftime_now(format) %}1 January 2025{% endmacro %}",
}


def given(end: str | None, vocabulary: dict[str, int]) -> str:
    """The template for a base without one: ChatML where its token is what ends a text, else one whose turns end with the end token."""
    return CHATML if end == TURN_END and {TURN, TURN_END} <= vocabulary.keys() else PLAIN


def settled(template: Any) -> Any:
    """A template (or several by name) that asks no clock, and lets a model that can think answer at once.

    Otherwise the same row would be other tokens tomorrow, and an answer would begin with a thought that no row holds. A
    template that mentions neither is left as it is, and one that is settled already too.
    """
    if not isinstance(template, str):
        return {name: settled(one) for name, one in template.items()} if isinstance(template, dict) else template
    return "".join(said for name, said in SETTLED.items() if name in template and said not in template) + template
