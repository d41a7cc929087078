"""JSON on its way up, made to fit."""

from hypothesis import given, settings
from hypothesis import strategies as st

from headstart_runner import wire


@given(st.text(max_size=3000), st.integers(40, 2000))
def test_cut_text_fits_and_says_so(text: str, limit: int) -> None:
    cut = wire.cut_text(text, limit)

    assert wire.size(cut) - 2 <= limit
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=60,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=9), json_values, max_size=8), st.integers(100, 3000))
def test_whatever_it_is_it_is_made_to_fit(value: dict[str, object], limit: int) -> None:
    cut, was_cut = wire.fit(value, limit)

    assert wire.size(cut) <= limit
    assert was_cut == (cut != value)
