"""The page's script in fewer bytes: it does the same."""

from __future__ import annotations

import pytest

from pytest_langfuse.report.page import smaller_script
from pytest_langfuse.report.page.html_page import SCRIPTS, _code_of, script
from pytest_langfuse.report.page.smaller_script import smaller


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('f("p", { class: "a  = b" }, g ? 1 : 2);', 'f("p",{class:"a  = b"},g?1:2);'),
        ("f(a + +b, a - -b, a++ + 1);", "f(a+ +b,a- -b,a++ +1);"),
        ("return -1 in x;", "return-1 in x;"),
        ('f(true ? Infinity : x["true"], x.true, { true: undefined });', 'f(!0?1/0:x["true"],x.true,{true:void 0});'),
        ("f(/ [/] = /.test(x), x / 2 / y);", "f(/ [/] = /.test(x),x/2/y);"),
        ("f(`a  ${x ? ` =  ${y + 1}` : { z: 1 }.z}  }`);", "f(`a  ${x?` =  ${y+1}`:{z:1}.z}  }`);"),
        ("f(); /* g(); */ h();", "f();h();"),
        ('f("\\" = ");', 'f("\\" = ");'),
        # A line is joined to the one before where no statement can end.
        ("f(\n  1,\n  2,\n);\ng()\nh()", "f(1,2,);g()\nh()"),
        # Names, by how often they are used; properties keep theirs.
        ("const long = 1; f(long, x.long, { long: 2 });", "let a=1;f(a,x.long,{long:2});"),
        ("const long = 1; f({ long, other: long });", "let a=1;f({long:a,other:a});"),
        ("const { long, other: short = 2, ...rest } = x; f(long, long, rest, short, long);",
         "let{long:a,other:c=2,...b}=x;f(a,a,b,c,a);"),
        ("const [first, second] = x; f(second, second, first);", "let[b,a]=x;f(a,a,b);"),
        ("function first(second) { return second; } first(1);", "function a(b){return b}a(1);"),
        ("class First { second(third) { return third; } get fourth() { return 1; } } new First().second();",
         "class a{second(b){return b}get fourth(){return 1}}new a().second();"),
        ("f((first) => first, (first, { second }) => { first(second); });",
         "f(a=>a,(a,{second:b})=>{a(b)});"),
        ("try { f(); } catch (error) { f(`${error}`); }", "try{f()}catch(a){f(`${a}`)}"),
        ("f({ class: first }, (first) => 1);", "f({class:a},a=>1);"),
        # What is not declared is a global, and no name becomes one.
        ("const first = 1; f(a, first, first, b);", "let c=1;f(a,c,c,b);"),
        # Declarations that follow one another are one; not those of another block.
        ("const x1 = () => { const y1 = 1; f(y1); };\nconst z1 = 2; f(); let x2 = 3;",
         "let b=()=>{let a=1;f(a)},d=2;f();let c=3;"),
        ("for (let at = 0; at < 1; at++) f(at);", "for(let a=0;a<1;a++)f(a);"),
    ],
)  # fmt: skip
def test_a_script_does_the_same_in_fewer_bytes(code: str, expected: str):
    assert smaller(code) == expected


def test_a_template_without_an_end_is_no_script():
    with pytest.raises(ValueError, match="a template has no end: `a"):
        smaller("f(`a);")


#: What the page uses of the browser. A name that is missing here is misspelled, or has to be added.
GLOBALS = """
Array Blob Boolean Date DecompressionStream Infinity JSON Map Math Number Object Promise ResizeObserver Response Set
String URLSearchParams Uint8Array atob document false getComputedStyle history localStorage location matchMedia
navigator requestAnimationFrame setTimeout true undefined window
"""


def test_the_script_uses_these_globals():
    tokens = list(smaller_script._tokens("\n".join(map(_code_of, SCRIPTS))))
    smaller_script._mark(tokens)
    declared = smaller_script._declared([token for token in tokens if token.kind != "newline"])
    assert sorted({token.text for token in tokens if token.is_name} - declared) == sorted(GLOBALS.split())
    # A global of this name would be another thing once the name is shorter.
    assert declared.isdisjoint(GLOBALS.split())


def test_the_script_is_as_small_as_it_gets():
    assert len(smaller(script())) == len(script())
