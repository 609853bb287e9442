"""Where the answer of a completion stands, by a chain that the recipe declares.

chain     the extractors and the chain; what was found, by which, or why nothing
nearest   the number behind the word "answer"
"""

from grpokit_math.extract.chain import EXTRACTORS, Extracted, Extractor, as_text, extract

__all__ = ["EXTRACTORS", "Extracted", "Extractor", "as_text", "extract"]
