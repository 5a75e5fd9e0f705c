"""YAML as plain data with positions.

ruamel's pure parser yields events; everything after that is done here, since no constructor should ever see a file of
unknown origin: nodes are built with an explicit stack (no recursion on input), aliases are counted before they are
expanded, and scalars follow the core schema of YAML 1.2 (`no` and `on` are text).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mechshift_core.spec.problems import LINE_BREAK, Mark
from mechshift_core.spec.scalars import Plain, collection_tag_fits, read_scalar, refused_tag
from mechshift_core.wording import clip, describe

MAX_NODES = 20_000
MAX_DEPTH = 40

Path = tuple[str | int, ...]


class Unreadable(Exception):  # noqa: N818 (carries a position up to the loader; never reaches a user)
    """The text cannot be read any further."""

    def __init__(self, mark: Mark, message: str) -> None:
        super().__init__(message)
        self.mark, self.message = mark, message


@dataclass(slots=True)
class Node:
    """A scalar, sequence or mapping; `size` and `height` count the nodes below it with aliases expanded."""

    mark: Mark
    kind: str
    value: str = ""
    plain: bool = True
    tag: str | None = None
    children: list[Node] = field(default_factory=list)
    size: int = 1
    height: int = 0
    open: bool = False


@dataclass(slots=True)
class Document:
    """Plain data, where each of its values and keys stands, and what is wrong with it.

    Attributes:
        data: Mappings, lists, text, finite numbers, truth values and None only.
        values: Path of each value -> its position; a merged value has the position of the anchored one.
        keys: Path of each mapping entry -> the position of its key.
        problems: What is wrong although the rest could be read.
        suspect: Paths whose value is a stand-in, because a problem was found there.
        expanded: Section -> the names of its entries that were written out from a matrix.
    """

    data: object = None
    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    problems: set[tuple[Mark, str]] = field(default_factory=set)
    suspect: set[Path] = field(default_factory=set)
    expanded: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def complain(self, mark: Mark, message: str, path: Path | None = None) -> None:
        """Record a problem, and that the value at `path` is not the one that was meant."""
        self.problems.add((mark, message))
        if path is not None:
            self.suspect.add(path)

    def locate(self, path: Path, *, key: bool = False) -> Mark:
        """The position of the value (or key) at `path`, or of the nearest thing around it that has one."""
        while path:
            mark = (self.keys.get(path) if key else None) or self.values.get(path)
            if mark is not None:
                return mark
            path, key = path[:-1], False
        return self.values.get((), Mark(1, 1))


def read_document(text: str) -> Document:
    """Parse one YAML document.

    Raises:
        Unreadable: at the first thing that leaves no document to go on with: a syntax error, nothing at all, a second
            document, too many or too deep values, an alias without its anchor.
    """
    document = Document()
    root = _compose(text)
    if root is None or (root.kind == "scalar" and root.plain and root.value == ""):
        raise Unreadable(Mark(1, 1), "the file is empty")
    document.data = _construct(root, (), document)
    return document


def _events(text: str) -> Iterator[tuple[str, Mark, object]]:
    """(event name, position, event), with every error of the parser as :class:`Unreadable`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    last = Mark(1, 1)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            last = Mark(event.start_mark.line + 1, event.start_mark.column + 1)
            yield type(event).__name__.removesuffix("Event"), last, event
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Mark(mark.line + 1, mark.column + 1) if mark else last
        context = f" {error.context}" if error.context else ""
        raise Unreadable(place, f"not valid YAML: {error.problem}{context}") from error
    except ReaderError as error:
        before = LINE_BREAK.split(text[: error.position])
        place = Mark(len(before), len(before[-1]) + 1)
        raise Unreadable(place, f"not valid YAML: the character U+{ord(text[error.position]):04X}") from error
    except Exception as error:
        # The parser lets some errors of its own through (OverflowError for "\UFFFFFFFF", AssertionError, ...).
        raise Unreadable(last, f"not valid YAML after this point ({type(error).__name__})") from error


def _compose(text: str) -> Node | None:
    """The root node of the only document; None where there is none."""
    root: Node | None = None
    stack: list[Node] = []
    anchors: dict[str, Node] = {}
    total = 0
    for name, mark, event in _events(text):
        if name == "DocumentStart" and root is not None:
            raise Unreadable(mark, "a second document starts here; expected one document")
        if name in ("SequenceEnd", "MappingEnd"):
            closed = stack.pop()
            closed.open = False
            closed.size += sum(child.size for child in closed.children)
            closed.height = 1 + max((child.height for child in closed.children), default=0)
            continue
        if name not in ("Alias", "Scalar", "SequenceStart", "MappingStart"):
            continue
        node = _aliased(event, mark, anchors) if name == "Alias" else _opened(event, mark, name, anchors)
        total += node.size
        if total > MAX_NODES:
            raise Unreadable(mark, f"more than {MAX_NODES:,} values, with every alias written out")
        if len(stack) + node.height >= MAX_DEPTH:
            raise Unreadable(mark, f"nested more than {MAX_DEPTH} levels deep")
        if stack:
            if name == "Scalar" and _is_nothing(event, node) and stack[-1].kind == "mapping":
                # The parser puts what is not there where the next token begins, on a later line as a rule.
                keys = stack[-1].children[-1:] if len(stack[-1].children) % 2 else []
                node.mark = keys[0].mark if keys else node.mark
            stack[-1].children.append(node)
        else:
            root = node
        if name in ("SequenceStart", "MappingStart"):
            stack.append(node)
    return root


def _is_nothing(event: object, node: Node) -> bool:
    """Whether a scalar has no text at all, not even quotes, a tag or an anchor."""
    return node.plain and node.value == "" and node.tag is None and getattr(event, "anchor", None) is None


def _aliased(event: object, mark: Mark, anchors: dict[str, Node]) -> Node:
    anchor = str(getattr(event, "anchor", ""))
    if anchor not in anchors:
        raise Unreadable(mark, f"unknown anchor {anchor!r}: no '&{anchor}' before this alias")
    if anchors[anchor].open:
        raise Unreadable(mark, f"recursive alias: '*{anchor}' stands inside of what it names")
    return anchors[anchor]


def _opened(event: object, mark: Mark, name: str, anchors: dict[str, Node]) -> Node:
    kind = {"Scalar": "scalar", "SequenceStart": "sequence", "MappingStart": "mapping"}[name]
    value, tag, anchor = (getattr(event, key, None) for key in ("value", "tag", "anchor"))
    node = Node(mark, kind, tag=None if tag is None else str(tag), open=kind != "scalar")
    if kind == "scalar":
        node.value, node.plain = str(value or ""), getattr(event, "style", None) is None
    if anchor is not None:
        anchors[str(anchor)] = node
    return node


def _construct(node: Node, path: Path, document: Document) -> object:
    """Plain data of a node; recursion is bounded by MAX_DEPTH and MAX_NODES, which were checked before."""
    document.values[path] = node.mark
    if node.kind == "scalar":
        return _scalar(node, path, document)
    if not collection_tag_fits(node.tag, node.kind):
        document.complain(node.mark, refused_tag(str(node.tag)), path)
        return None
    if node.kind == "sequence":
        return [_construct(child, (*path, index), document) for index, child in enumerate(node.children)]
    return {key: _construct(value, (*path, key), document) for key, value in _entries(node, path, document).items()}


def _entries(node: Node, path: Path, document: Document) -> dict[str, Node]:
    """Key -> value of a mapping, merge keys resolved: own entries win, then the earlier merged ones."""
    own: dict[str, Node] = {}
    merged: dict[str, tuple[Node, Mark]] = {}
    seen: dict[str, Mark] = {}
    for key, value in zip(node.children[::2], node.children[1::2], strict=True):
        resolved = _scalar(key, None, document) if key.kind == "scalar" else None
        if not isinstance(resolved, str):
            came = describe(resolved) if key.kind == "scalar" else f"a {key.kind}"
            document.complain(key.mark, f"keys must be text, got {came}{_quotes(key)}")
        elif resolved in seen:
            document.complain(key.mark, f"duplicate key {resolved!r} (first on line {seen[resolved].line})")
        else:
            seen[resolved] = key.mark
            if resolved == "<<" and key.plain:
                for name, entry in _merged(value, path, document).items():
                    merged.setdefault(name, entry)
            else:
                own[resolved] = value
                document.keys[*path, resolved] = key.mark
    for name, (value, mark) in merged.items():
        if name not in own:
            own[name] = value
            document.keys[*path, name] = mark
    return own


def _merged(value: Node, path: Path, document: Document) -> dict[str, tuple[Node, Mark]]:
    """What a merge key brings in: entries of a mapping, or of a list of mappings, with the positions of their keys."""
    found: dict[str, tuple[Node, Mark]] = {}
    for source in value.children if value.kind == "sequence" else [value]:
        if source.kind != "mapping":
            document.complain(source.mark, "expected a mapping (or a list of mappings) to merge")
            continue
        scratch = Document(problems=document.problems)
        for name, node in _entries(source, path, scratch).items():
            found.setdefault(name, (node, scratch.keys[*path, name]))
    return found


def _scalar(node: Node, path: Path | None, document: Document) -> Plain:
    """The value of a scalar; a stand-in is recorded as suspect under `path`."""
    value, problem = read_scalar(node.value, plain=node.plain, tag=node.tag)
    if problem is not None:
        document.complain(node.mark, problem, path)
    return value


def _quotes(key: Node) -> str:
    return f" (write it in quotes: {clip(key.value)!r})" if key.kind == "scalar" and key.value else ""
