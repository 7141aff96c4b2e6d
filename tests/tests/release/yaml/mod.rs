//! YAML is read like Ruby does, because a director is a Ruby program: whatever it accepts has the same meaning here.

mod corpus;

use std::{
    io::Write,
    process::{Command, Stdio},
};

use boshy_yaml::{Limits, from_text};
use serde_json::Value;

use self::corpus::corpus;

/// Reads texts like a director reads a manifest, and writes the result in a form that JSON can express: keys as text,
/// floats that are not numbers as null, symbols with their colon, octets that are not UTF-8 replaced. Keys that are
/// lists or maps are left out.
const SCRIPT: &str = r#"
require 'json'
require 'yaml'
def text(value)
  value.dup.force_encoding('UTF-8').scrub("\uFFFD")
end
def plain(value)
  case value
  when Hash then value.reject { |key, _| key.is_a?(Hash) || key.is_a?(Array) }.to_h { |key, inner| [name(key), plain(inner)] }
  when Array then value.map { |inner| plain(inner) }
  when String then text(value)
  when Symbol then ":#{value}"
  when Float then value.finite? ? value : nil
  when Integer then value.between?(-2**63, 2**64 - 1) ? value : value.to_f
  else value
  end
end
def name(key)
  key.nil? ? '' : key.is_a?(Symbol) ? ":#{key}" : text(key.to_s)
end
result = JSON.parse($stdin.read).map do |text|
  { 'read' => plain(YAML.load(text, permitted_classes: [Symbol], aliases: true)) }
rescue StandardError, SystemStackError => e
  { 'refused' => e.class.name }
end
puts JSON.generate(result, max_nesting: 0)
"#;

fn by_ruby(texts: &[String]) -> Vec<Value> {
    let mut ruby =
        Command::new("ruby").args(["-W0", "-e", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = serde_json::to_vec(texts).unwrap();
    let mut stdin = ruby.stdin.take().unwrap();
    let feed = std::thread::spawn(move || stdin.write_all(&input));
    let output = ruby.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn whatever_ruby_reads_is_read_alike() {
    let texts = corpus();
    let mut differences = Vec::new();
    let mut read = 0;
    for (text, ruby) in texts.iter().zip(by_ruby(&texts)) {
        let Some(expected) = ruby.get("read") else { continue };
        // For Ruby, an empty stream is false; it is not a manifest for either.
        let is_empty =
            *expected == Value::Bool(false) && from_text::<Value>(text, &Limits::default()) == Ok(Value::Null);
        read += 1;
        match from_text::<Value>(text, &Limits::default()) {
            Ok(found) if found == *expected || is_empty => {}
            found => differences.push(format!("{text:?}\n  Ruby: {expected}\n  here: {found:?}")),
        }
    }
    assert!(differences.is_empty(), "{} of {read} differ:\n{}", differences.len(), differences.join("\n"));
    assert!(read > 3000, "only {read} of {} texts are YAML to Ruby", texts.len());
}

/// Syntax errors are the same as Ruby's: a text that Ruby refuses for its syntax is refused here.
#[test]
fn what_is_no_yaml_to_ruby_is_refused() {
    let texts = corpus();
    let guessed: Vec<_> = texts
        .iter()
        .zip(by_ruby(&texts))
        .filter(|(_, ruby)| ruby["refused"] == "Psych::SyntaxError")
        .filter(|(text, _)| from_text::<Value>(text, &Limits::default()).is_ok())
        .map(|(text, _)| text)
        .collect();
    assert!(guessed.is_empty(), "{guessed:?}");
}
