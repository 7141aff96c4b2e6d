//! Texts that Ruby and this workspace read.

/// Words that YAML 1.1 has a meaning for, and those that look like them.
const WORDS: &[&str] = &[
    "~", "null", "Null", "NULL", "nUll", "nil", "yes", "Yes", "YES", "yEs", "no", "NO", "on", "On", "off", "OFF",
    "true", "TRUE", "false", "False", "y", "n", "Y", "N", "t", "f",
];

/// Numbers, and what looks like one.
const NUMBERS: &[&str] = &[
    "0", "1", "-1", "+1", "00", "010", "-010", "08", "0o7", "0x1F", "0xfg", "-0x10", "0b101", "0b12", "0b_1", "0_1",
    "1_000", "1,000", "1,00,0", "1_", "_1", "1__0", ",1", "1,", "1.0", "1.", ".5", ".", "-.", "+.5", "1e3", "1.0e3",
    "1.0e+3", "1.5E-2", "1_0.5", "1,000.5", "1.5.5", "1.5_0", "-1.5", "12e03", ".inf", "-.inf", "+.inf", ".INF",
    ".Inf", ".nan", ".NaN", "inf", "nan", "-0", "+0", "-.0", "1e", "e1", "Infinity", "0x", "0b", "0_", "0,1",
];

/// Sexagesimal numbers and dates.
const TIMES: &[&str] =
    &["1:30", "1:30:15", "-1:30", "1:60", "1:2:3:4", "1:30.5", "1_0:30", "12:30:45", "2020-1-1", "20200101", "2020-01"];

/// Symbols, quotes, and signs that begin something.
const SIGNS: &[&str] = &[
    ":a", ":a b", ":'a b'", ":\"a\"", "::", "a:b", "a::b", "http://x", "a", "abc", "abcdefgh", "a b", "a  b", "-",
    "--", "-a", "-1a", "1a", "1.a", "10.0.0.1", "1.2.3", "((var))", "<<", "=", "@a", "`a", "%a", "!a", "é", "ß",
    "日本", "+é", "0é", "a#b", "a #b", "'a'", "''", "'it''s'", "\"\"", "\"1\"", "'1'", "\"yes\"", "'~'", "$a", "(a)",
    "a,b", "a;b", "~a", "1 2", "1-2", "5-10", "0.0.0.0",
];

/// Longer ones of each kind.
const LONG: &[&str] = &[
    "123456789012345678901234567890",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "190:20:30",
    "2020-01-01",
    "2020-13-01",
    "2020-02-30",
    "2000-02-29",
    "1900-02-29",
    "2020-01-01T10:00:00Z",
    "2020-01-01 10:00:00",
    "2020-01-01 10:00:00 +01:00",
    "2020-01-01t1:00:00.5-5",
    "2020-01-01 25:00:00",
    "10.0.0.0/8",
    "10.0.0.1-10.0.0.9",
    "((a/b.c))",
    "\"a\\nb\"",
    "\"\\x41\\u00e9\"",
];

const TAGS: &[&str] = &[
    "",
    "!",
    "!!str",
    "!!int",
    "!!float",
    "!!bool",
    "!!null",
    "!!binary",
    "!binary",
    "!str",
    "!foo",
    "!!timestamp",
    "!ruby/symbol",
    "!ruby/string",
    "!ruby/regexp",
    "!ruby/object:Foo",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "\n",
    "# c\n",
    "---\n",
    "--- a\n",
    "--- |\n a\n b\n",
    "...\n",
    "a: 1\n---\nb: [\n",
    "a: 1\n...\nb: 2\n",
    "%YAML 1.1\n---\na: 1\n",
    "%YAML 1.2\n---\na: 1\n",
    "%YAML 2.0\n---\na: 1\n",
    "%TAG !e! tag:e,2000:\n---\na: !e!b 1\n",
    "\u{feff}a: 1\n",
    "a: 1\r\nb: 2\r\n",
    "a: 1\rb: 2\r",
    "a:\t1\n",
    "\ta: 1\n",
    "a:\n\t- 1\n",
    "a: [1,\t2]\n",
    "a: b: c\n",
    "a:b\n",
    "a:\n",
    "a: \n",
    "? a\n: b\n",
    "? a\n",
    ": a\n",
    "? \n: 1\n",
    "? [a, b]\n: 1\nc: 2\n",
    "? {a: b}\n: 1\nc: 2\n",
    "{a, b: 1}\n",
    "{a: }\n",
    "[a: 1, b]\n",
    "[a, , b]\n",
    "[a, ]\n",
    "{\"a\":1}\n",
    "{a:1}\n",
    "{a: 1, a: 2}\n",
    "a: 1\nb: 2\na: 3\n",
    "- a\n-\n- b\n",
    "- - a\n  - b\n- - c\n",
    "a:\n- 1\n- 2\n",
    "a:\n  - 1\nb: 2\n",
    "a: |\n  x\n   y\n\n  z\n",
    "a: |-\n  x\n\n",
    "a: |+\n  x\n\n",
    "a: >\n  x\n  y\n\n  z\n",
    "a: >-\n  x\n   y\n  z\n",
    "a: |2\n   x\n",
    "a: |\nb: 1\n",
    "a: x\n  y\n  z\n",
    "a: 'x\n  y\n\n  z'\n",
    "a: \"x \\\n  y\"\n",
    "a: x\n\n  y\n",
    "a: \"\\u2028\"\n",
    "a: x\u{2028}y\n",
    "a: x\u{85}y\n",
    "a: \u{1}\n",
    "a: \u{7f}\n",
    "a: \u{a0}\n",
    "a: &x 1\nb: *x\n",
    "a: &x [1]\nb: [*x, *x]\n",
    "a: &x 1\nb: &x 2\nc: *x\n",
    "b: *x\na: &x 1\n",
    "a: &x\nb: *x\n",
    "&a a: &b b\nc: *a\n",
    "*a : 1\n",
    "a: &x b\n*x : 1\n",
    "a: &x {k: 1}\nb: {<<: *x, l: 2}\n",
    "a: &x {k: 1}\nb: {k: 2, <<: *x}\n",
    "a: &x {k: 1}\nb: {<<: *x, k: 2}\n",
    "a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y]}\n",
    "a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*y, *x], m: 4}\n",
    "a: &x {k: 1}\nb: &y {<<: *x, l: 1}\nc: {<<: *y, m: 1}\n",
    "a: &x {k: 1}\nb:\n  <<: *x\n  <<: {l: 2}\n",
    "a: {<<: 1}\n",
    "a: {<<: ~}\n",
    "a: {<<: []}\n",
    "a: {<<: [1, {b: 1}]}\n",
    "a: &x [1]\nb: {<<: *x}\n",
    "a: {\"<<\": {b: 1}}\n",
    "a: {'<<': {b: 1}, c: 2}\n",
    "a: {!!str <<: {b: 1}}\n",
    "a: {! <<: {b: 1}}\n",
    "a: &x [{b: 1}]\nc: {<<: *x}\n",
    "a: &x <<\nb: {*x : {c: 1}}\n",
    "a: !!set {x, y}\n",
    "a: !!omap [x: 1, y: 2]\n",
    "a: !!omap {x: 1}\n",
    "a: !!pairs [x: 1]\n",
    "a: !!seq [1]\n",
    "a: !!map {b: 1}\n",
    "a: !!set {<<: {b: 1}}\n",
    "a: !foo {<<: {b: 1}}\n",
    "a: !foo [1]\n",
    "a: !ruby/hash:Foo {}\n",
    "a: !ruby/struct:Foo {}\n",
    "a: !ruby/object:Hash {b: 1}\n",
    "a: !!str {b: 1}\n",
    "a: !binary |\n  aGVs\n  bG8=\n",
    "a: !binary /w==\n",
    "a: !binary \"=\"\n",
    "a: !binary abc\n",
    "a: !binary a\n",
    "a: !!binary\n",
    "!!str a: 1\n!!str 2: 3\n",
    "!binary YQ==: 1\n",
    "!!map {a: 1}\n",
    "a: !<tag:yaml.org,2002:str> 1\n",
    "a: !<!str> 1\n",
    "a: !e!x 1\n",
    "true: 1\nno: 2\n",
    "1: a\n-5: b\n",
    "~: a\n",
    ":a: 1\n:b: :c\n",
    "a: {b: {c: [1, {d: e}]}}\n",
    "a: \"\\q\"\n",
    "a: \"b\n",
    "a: 'b\n",
    "a: [1\n",
    "a: {b\n",
    "a: ]\n",
    "a\nb\n",
    "a: 1\n b: 2\n",
    " a: 1\nb: 2\n",
    "a: @b\n",
    "a: `b\n",
    "a: %b\n",
    "a: ,b\n",
    "a: [@]\n",
    "- a\nb: 1\n",
    "a: -\n",
    "a: - b\n",
    "-a: 1\n",
    "--- {a: 1}\n...\n# end\n",
    "a: #b\n",
    "a:  #b\n  1\n",
    "a: &x\n  b: 1\nc:\n  <<: *x\n  d: 2\n",
    "a: - 1\n",
    "[]\n",
    "{}\n",
    "a: []\n",
    "\"a\": 1\n'b': 2\n",
    "a: ? b\n",
    "{? a: b}\n",
    "{? a}\n",
    "[? a: b]\n",
    "a: !!null x\n",
    "a: !!bool yes\n",
    "x-a: &a\n  - &b {n: 1}\n  - {<<: *b, m: 2}\ny: *a\n",
    "a: \"tab\\there\"\n",
    "a: \"\\0\\a\\b\\e\\f\\v\\N\\_\\L\\P\"\n",
    "a: \"\\U0001F600\"\n",
    "a: \"\\ud800\"\n",
    "a: 😀\n",
    "😀: 1\n",
];

/// Scalars with and without tags, in every place that a scalar has, and whole texts.
pub(super) fn corpus() -> Vec<String> {
    let mut texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    for scalar in [WORDS, NUMBERS, TIMES, SIGNS, LONG].into_iter().flatten() {
        for tag in TAGS {
            texts.push(format!("a: {tag} {scalar}\n"));
        }
        texts.push(format!("- {scalar}\n- [{scalar}, {scalar}]\n- {{k: {scalar}}}\n"));
        texts.push(format!("{scalar}: 1\n"));
        texts.push(format!("{{{scalar}: 1}}\n"));
        texts.push(format!("? {scalar}\n: 1\n"));
        texts.push(format!("{scalar}\n"));
        texts.push(format!("a: |\n  {scalar}\nb: >\n  {scalar}\n"));
        texts.push(format!("a: {scalar}\n  {scalar}\n"));
        texts.push(format!("a: &x {scalar}\nb: [*x]\n"));
    }
    for depth in [10, 65, 100] {
        texts.push(format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
        texts.push((0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect());
    }
    texts
}
