"""The works that reports cite: each with a key, as a line of a list and as an entry of BibTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reports.latex import escaped

ARXIV = "https://arxiv.org/abs/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A work that the methods paragraph cites.

    Attributes:
        key: Name of its entry; the same in every run.
        short: How a sentence names it.
        text: A line of the list of references.
        href: Where it is to be found.
        kind: Kind of its entry.
        entry: Fields of its entry besides the address.
    """

    key: str
    short: str
    text: str
    href: str | None = None
    kind: str = "article"
    entry: Mapping[str, str] = field(default_factory=dict)

    @property
    def bibtex(self) -> str:
        """The entry; a preprint names its number as the journal, which every style prints."""
        fields = dict(self.entry)
        if self.href and self.href.startswith(ARXIV):
            number = self.href.removeprefix(ARXIV)
            if self.kind == "article":
                fields.setdefault("journal", f"arXiv preprint arXiv:{number}")
            fields |= {"eprint": number, "archivePrefix": "arXiv"}
        lines = [f"  {name} = {{{_written(name, value)}}}" for name, value in fields.items()]
        lines += [f"  url = {{{self.href}}}"] if self.href else []
        return f"@{self.kind}{{{self.key},\n" + ",\n".join(lines) + "\n}\n"


def software(version: str) -> Reference:
    """This software, as its `CITATION.cff` has it."""
    return Reference(
        key="mechshift",
        short=f"mechshift {version}",
        text=f"The mechshift developers. mechshift (version {version}).",
        kind="misc",
        entry={
            "author": "{The mechshift developers}",
            "title": "mechshift: How post-training changes the mechanism inside a language model, with statistics "
            "that hold",
            "note": f"Version {version}",
        },
    )


def bibliography(works: Iterable[Reference]) -> str:
    """A file of BibTeX."""
    return "\n".join(work.bibtex for work in works)


def _written(name: str, value: str) -> str:
    """A value as BibTeX reads it: capitals of titles are kept."""
    return f"{{{escaped(value)}}}" if name == "title" else value if name == "author" else escaped(value)


MECHANISM_SHIFT = Reference(
    key="kong2026mechanism",
    short="Kong, Lee & Jo 2026",
    text="Kong, Lee & Jo (2026). Mechanism Shift During Post-training from Autoregressive to Masked Diffusion "
    "Language Models.",
    href=f"{ARXIV}2601.14758",
    entry={
        "author": "Kong, Injin and Lee, Hyoungjoon and Jo, Yohan",
        "title": "Mechanism Shift During Post-training from Autoregressive to Masked Diffusion Language Models",
        "year": "2026",
    },
)
EAP_IG = Reference(
    key="hanna2024faith",
    short="Hanna et al. 2024",
    text="Hanna, Pezzelle & Belinkov (2024). Have Faith in Faithfulness: Going Beyond Circuit Overlap When "
    "Finding Model Mechanisms (EAP-IG). First Conference on Language Modeling.",
    href=f"{ARXIV}2403.17806",
    kind="inproceedings",
    entry={
        "author": "Hanna, Michael and Pezzelle, Sandro and Belinkov, Yonatan",
        "title": "Have Faith in Faithfulness: Going Beyond Circuit Overlap When Finding Model Mechanisms",
        "booktitle": "First Conference on Language Modeling",
        "year": "2024",
    },
)
MIB = Reference(
    key="mueller2025mib",
    short="Mueller et al. 2025",
    text="Mueller et al. (2025). MIB: A Mechanistic Interpretability Benchmark (faithfulness, CMD, CPR). Forty-second "
    "International Conference on Machine Learning.",
    href=f"{ARXIV}2504.13151",
    kind="inproceedings",
    entry={
        "author": "Mueller, Aaron and Geiger, Atticus and Wiegreffe, Sarah and Arad, Dana and Arcuschin, Iv{\\'a}n and "
        "Belfki, Adam and Chan, Yik Siu and Fiotto-Kaufman, Jaden and Haklay, Tal and Hanna, Michael and Huang, Jing "
        "and Gupta, Rohan and Nikankin, Yaniv and Orgad, Hadas and Prakash, Nikhil and Reusch, Anja and "
        "Sankaranarayanan, Aruna and Shao, Shun and Stolfo, Alessandro and Tutek, Martin and Zur, Amir and Bau, David "
        "and Belinkov, Yonatan",
        "title": "MIB: A Mechanistic Interpretability Benchmark",
        "booktitle": "Forty-second International Conference on Machine Learning",
        "year": "2025",
    },
)
SHAPLEY = Reference(
    key="grabisch1999axiomatic",
    short="Grabisch & Roubens 1999",
    text="Grabisch & Roubens (1999). An axiomatic approach to the concept of interaction among players in "
    "cooperative games. International Journal of Game Theory 28, 547–565.",
    entry={
        "author": "Grabisch, Michel and Roubens, Marc",
        "title": "An axiomatic approach to the concept of interaction among players in cooperative games",
        "journal": "International Journal of Game Theory",
        "volume": "28",
        "number": "4",
        "pages": "547–565",
        "year": "1999",
    },
)
HOLM = Reference(
    key="holm1979simple",
    short="Holm 1979",
    text="Holm (1979). A simple sequentially rejective multiple test procedure. "
    "Scandinavian Journal of Statistics 6, 65–70.",
    entry={
        "author": "Holm, Sture",
        "title": "A simple sequentially rejective multiple test procedure",
        "journal": "Scandinavian Journal of Statistics",
        "volume": "6",
        "number": "2",
        "pages": "65–70",
        "year": "1979",
    },
)
SCHUIRMANN = Reference(
    key="schuirmann1987comparison",
    short="Schuirmann 1987",
    text="Schuirmann (1987). A comparison of the two one-sided tests procedure and the power approach for "
    "assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and "
    "Biopharmaceutics 15, 657–680.",
    entry={
        "author": "Schuirmann, Donald J.",
        "title": "A comparison of the two one-sided tests procedure and the power approach for assessing the "
        "equivalence of average bioavailability",
        "journal": "Journal of Pharmacokinetics and Biopharmaceutics",
        "volume": "15",
        "number": "6",
        "pages": "657–680",
        "year": "1987",
    },
)
BOOTSTRAP = Reference(
    key="davison1997bootstrap",
    short="Davison & Hinkley 1997",
    text="Davison & Hinkley (1997). Bootstrap Methods and their Application. Cambridge University Press.",
    kind="book",
    entry={
        "author": "Davison, Anthony C. and Hinkley, David V.",
        "title": "Bootstrap Methods and their Application",
        "publisher": "Cambridge University Press",
        "year": "1997",
    },
)
EXPECTED_GRADIENTS = Reference(
    key="erion2021improving",
    short="Erion et al. 2021",
    text="Erion, Janizek, Sturmfels, Lundberg & Lee (2021). Improving performance of deep learning models with "
    "axiomatic attribution priors and expected gradients. Nature Machine Intelligence 3, 620–631.",
    href=f"{ARXIV}1906.10670",
    entry={
        "author": "Erion, Gabriel and Janizek, Joseph D. and Sturmfels, Pascal and Lundberg, Scott M. and Lee, Su-In",
        "title": "Improving performance of deep learning models with axiomatic attribution priors and expected "
        "gradients",
        "journal": "Nature Machine Intelligence",
        "volume": "3",
        "number": "7",
        "pages": "620–631",
        "year": "2021",
    },
)
GIM = Reference(
    key="edin2025gim",
    short="Edin et al. 2025",
    text="Edin et al. (2025). GIM: Improved Interpretability for Large Language Models.",
    href=f"{ARXIV}2505.17630",
    entry={
        "author": "Edin, Joakim and Csord{\\'a}s, R{\\'o}bert and Ruotsalo, Tuukka and Wu, Zhengxuan and Maistro, "
        "Maria and Christensen, Casper L. and Huang, Jing and Maal{\\o}e, Lars",
        "title": "GIM: Improved Interpretability for Large Language Models",
        "year": "2025",
    },
)
RELP = Reference(
    key="rezaei2025relp",
    short="Rezaei Jafari et al. 2025",
    text="Rezaei Jafari, Eberle, Khakzar & Nanda (2025). RelP: Faithful and Efficient Circuit Discovery in Language "
    "Models via Relevance Patching.",
    href=f"{ARXIV}2508.21258",
    entry={
        "author": "{Rezaei Jafari}, Farnoush and Eberle, Oliver and Khakzar, Ashkan and Nanda, Neel",
        "title": "RelP: Faithful and Efficient Circuit Discovery in Language Models via Relevance Patching",
        "year": "2025",
    },
)
WORKS = {
    work.key: work
    for work in (
        MECHANISM_SHIFT, EAP_IG, MIB, SHAPLEY, HOLM, SCHUIRMANN, BOOTSTRAP, EXPECTED_GRADIENTS, GIM, RELP,
    )
}  # fmt: skip
"""Every work that a methods paragraph may cite, by its key."""
