"""What exported models are asked."""

TALKS = tuple(
    ({"role": "user", "content": text},)
    for text in ("2+2?", "What is 13 + 29?", "Say yes.", "x" * 40)
)
