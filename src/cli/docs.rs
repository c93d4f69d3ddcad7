//! What the documents tell people to type: every command and flag in them must be there.

use super::args::Args;
use crate::config::Settings;
use clap::{Arg, Command, CommandFactory as _};

const DOCUMENTS: [(&str, &str); 6] = [
    ("README.md", include_str!("../../README.md")),
    ("docs/air-gap.md", include_str!("../../docs/air-gap.md")),
    ("docs/sources.md", include_str!("../../docs/sources.md")),
    ("docs/policy.md", include_str!("../../docs/policy.md")),
    ("docs/operations.md", include_str!("../../docs/operations.md")),
    ("docs/security.md", include_str!("../../docs/security.md")),
];

/// The lines of fenced blocks of a kind, each block by itself, and the text between blocks.
fn split(text: &str, kind: &str) -> (Vec<String>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    for (at, part) in text.split("```").enumerate() {
        match part.split_once('\n') {
            Some((language, block)) if at % 2 == 1 && language == kind => blocks.push(block.to_owned()),
            _ if at % 2 == 0 => prose.push_str(part),
            _ => {}
        }
    }
    (blocks, prose)
}

/// The spans between backticks. A paragraph may break one, nothing else may.
fn spans(prose: &str) -> Vec<String> {
    let of = |paragraph: &str| -> Vec<String> {
        paragraph.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
    };
    prose.split("\n\n").flat_map(of).collect()
}

/// `a [b|c D] e` says `a b e` and `a c D e`; `a b|c e` says `a b e` and `a c e`.
fn alternatives(span: &str) -> Vec<String> {
    let span = span.replace("\\|", "|");
    let brackets = || {
        let (before, rest) = span.split_once('[')?;
        Some((before, rest.split_once(']')?))
    };
    let bare = || {
        let word = span.split(' ').find(|word| word.contains('|'))?;
        let (before, after) = span.split_once(word)?;
        Some((before, (word, after)))
    };
    let Some((before, (choices, after))) = brackets().or_else(bare) else { return vec![span] };
    choices.split('|').flat_map(|choice| alternatives(&format!("{before}{choice}{after}"))).collect()
}

/// Every command line that a document gives, and the flags that it names by themselves.
fn typed(text: &str) -> (Vec<String>, Vec<String>) {
    let (blocks, prose) = split(text, "console");
    let lines = blocks.iter().flat_map(|block| block.lines()).filter_map(|line| line.strip_prefix("$ "));
    // What follows is the shell's, or another program's.
    let alone = |line: &str| {
        let end = line.find([';', '#', '|', '>', '<', '&', '(']).unwrap_or(line.len());
        line.get(..end).unwrap_or_default().to_owned()
    };
    let spans = spans(&prose);
    let inline = spans.iter().flat_map(|span| alternatives(span));
    let commands = lines.map(alone).chain(inline).filter(|line| line.starts_with("airlock ")).collect();
    (commands, spans.into_iter().filter(|span| span.starts_with("--") && span.len() > 2).collect())
}

fn has_flag<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let name = word.split('=').next().unwrap_or_default();
    command.get_arguments().find(|arg| match name.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => arg.get_short().is_some_and(|short| name == format!("-{short}")),
    })
}

/// What is wrong with a command line.
fn fault(mut command: &Command, line: &str) -> Option<String> {
    let mut words = line.split_whitespace().skip(1);
    while let Some(word) = words.next() {
        if word.starts_with('-') && word != "-" {
            let Some(flag) = has_flag(command, word) else { return Some(format!("no flag {word}")) };
            if flag.get_action().takes_values() && !flag.is_require_equals_set() && !word.contains('=') {
                words.next();
            }
        } else if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        } else if command.get_positionals().next().is_none() {
            return Some(format!("{word} is no command and no argument"));
        }
    }
    None
}

fn is_anywhere(command: &Command, flag: &str) -> bool {
    let name = flag.split_whitespace().next().unwrap_or_default();
    has_flag(command, name).is_some() || command.get_subcommands().any(|inner| is_anywhere(inner, flag))
}

fn faults(text: &str) -> Vec<String> {
    let mut root = Args::command();
    root.build();
    let (commands, flags) = typed(text);
    let commands = commands.iter().filter_map(|line| fault(&root, line).map(|fault| format!("{line}: {fault}")));
    let flags = flags.iter().filter(|flag| !is_anywhere(&root, flag)).map(|flag| format!("no flag {flag}"));
    commands.chain(flags).collect()
}

#[test]
fn the_documents_name_only_commands_and_flags_that_are_there() {
    for (name, text) in DOCUMENTS {
        assert!(typed(text).0.len() > 10, "{name}: its commands were not found");
        assert_eq!(faults(text), [""; 0], "{name}");
    }
}

#[test]
fn the_configurations_in_the_documents_can_be_read() {
    for (name, text) in DOCUMENTS {
        for block in split(text, "toml").0 {
            let read = toml::from_str::<Settings>(&block);
            assert!(read.is_ok(), "{name}: {block}{read:?}");
        }
    }
}

#[test]
fn what_is_not_there_is_found() {
    let wrong = [
        "```console\n$ airlock bundle export x --tow lab\n```\n",
        "```console\n$ airlock bundle exprot x\n```\n",
        "as `airlock gc --sure` does",
        "with `airlock misses [list\\|exprot FILE]`",
        "with `airlock bundle import\\|exprot FILE`",
        "with `--volume-sizes 4GiB`",
        "a span that is\n`airlock check\n--nolazy` broken",
    ];
    for text in wrong {
        assert_eq!(faults(text).len(), 1, "{text}");
    }
    let right =
        "`airlock check manifests --json`, `--to`\n\n```console\n$ airlock gc --yes a > b --c\n$ other --d\n```\n";
    assert_eq!(faults(right), [""; 0]);
}
