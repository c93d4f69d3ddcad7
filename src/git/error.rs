//! What can go wrong with a repository, told apart: who has to act differs.

use crate::protocol::TreeHash;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a repository cannot give what was wanted. Addresses are shown without credentials.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Not an address that may be used.
    #[error("{address:?} cannot be the address of a repository here: {why}")]
    Address {
        /// As it was written.
        address: String,
        /// Why not.
        why: &'static str,
    },
    /// There is no `git` on the PATH.
    #[error("the `git` program is missing on this machine: install git 2.31 or later")]
    NoProgram,
    /// It lacks what is needed.
    #[error("the `git` program on this machine is too old ({0}): 2.31 or later is needed")]
    OldProgram(String),
    /// The address leads nowhere.
    #[error("there is no repository at {address}: {detail}")]
    NoRepository {
        /// Where.
        address: String,
        /// In git's words.
        detail: String,
    },
    /// It wants other credentials, or does not let anybody in.
    #[error("{address} refused access: {detail}")]
    Refused {
        /// Who.
        address: String,
        /// In git's words.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("{address} cannot be reached: {detail}")]
    Unreachable {
        /// Who.
        address: String,
        /// In git's words.
        detail: String,
    },
    /// Nothing came for this long, or it took this long in all.
    #[error("{address} took too long: {after:?}")]
    TimedOut {
        /// Who.
        address: String,
        /// The bound.
        after: Duration,
    },
    /// The repository has no such branch.
    #[error("{address} has no {}", Branch(branch.as_deref(), *is_empty))]
    NoBranch {
        /// Where.
        address: String,
        /// Which; `None` is the one that the repository points to.
        branch: Option<String>,
        /// Whether it has no other branch and no tag either. `git` takes a page for people, such as one
        /// to sign in at, for a list without any.
        is_empty: bool,
    },
    /// The tree is in no branch, no tag and nothing else that the repository shows.
    #[error("tree {tree} is in no branch or tag of {address}{}", Moved(moved.as_ref()))]
    NoTree {
        /// Which.
        tree: TreeHash,
        /// Where.
        address: String,
        /// What the tag of the wanted version has now.
        moved: Option<MovedTag>,
    },
    /// A tree that has a submodule, or that is itself in one: its files are in another repository
    /// and a tarball's tree hash could never be this (`protocol.md` 5).
    #[error("{path:?} is a git submodule, which no tarball can carry")]
    Submodule {
        /// From the root of the tree.
        path: String,
    },
    /// A tree that no client would unpack.
    #[error("cannot put {path:?} into a tarball: {what}")]
    Entry {
        /// From the root of the tree, with replacement characters if not UTF-8.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// More than a tarball may have.
    #[error("the tree has more than {limit} {what}")]
    TooBig {
        /// What is counted.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// The clone on this machine is damaged, and a new one did not help.
    #[error("the clone of {address} is damaged: {detail}")]
    Broken {
        /// Of what.
        address: String,
        /// How.
        detail: String,
    },
    /// `git` failed in a way of its own.
    #[error("git failed on {address}: {detail}")]
    Failed {
        /// On what.
        address: String,
        /// In git's words.
        detail: String,
    },
    /// The output of a tarball or bundle cannot be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// The folder of clones cannot be used.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// This process is about to end.
    #[error("shutting down")]
    Stopped,
}

/// A tag that is not where its version's registration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedTag {
    /// Its name.
    pub tag: String,
    /// The tree that it has now.
    pub tree: TreeHash,
}

impl GitError {
    /// Whether asking again may help without anybody doing anything.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. } | Self::Stopped)
    }

    /// What `git` said on standard error, sorted by what it means. `detail` has no credentials.
    pub(super) fn of_program(address: &str, said: &str) -> Self {
        let (address, detail) = (address.to_owned(), essence(said) + &remedy(said));
        match meaning(said) {
            Meaning::NoRepository => Self::NoRepository { address, detail },
            Meaning::Refused => Self::Refused { address, detail },
            Meaning::Unreachable => Self::Unreachable { address, detail },
            Meaning::Broken => Self::Broken { address, detail },
            Meaning::Full => Self::Io(io::Error::from(io::ErrorKind::StorageFull)),
            Meaning::Other => Self::Failed { address, detail },
        }
    }
}

struct Branch<'a>(Option<&'a str>, bool);

impl fmt::Display for Branch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            _ if self.1 => f.write_str("branch at all: it is empty, or what answers there is no git server"),
            Some(branch) => write!(f, "branch {branch:?}"),
            None => f.write_str("branch that it points to: name one"),
        }
    }
}

struct Moved<'a>(Option<&'a MovedTag>);

impl fmt::Display for Moved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(MovedTag { tag, tree }) = self.0 else {
            return f.write_str(": its history was pushed over since then, or it never was there");
        };
        write!(f, ": tag {tag} has tree {tree} now, so it was moved after the version was registered")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    NoRepository,
    Refused,
    Unreachable,
    Broken,
    Full,
    Other,
}

/// Phrases of git, curl and ssh (in the C locale) with what they mean; the first that fits counts.
/// The generic ones, which accompany others, come last.
const PHRASES: &[(&str, Meaning)] = &[
    ("No space left on device", Meaning::Full),
    ("Disk quota exceeded", Meaning::Full),
    ("Out of diskspace", Meaning::Full),
    // Of the server, or of a path on this machine.
    ("does not appear to be a git repository", Meaning::NoRepository),
    ("repository not exported", Meaning::NoRepository),
    ("epository not found", Meaning::NoRepository),
    ("' not found", Meaning::NoRepository),
    ("could not be found or you don't have permission", Meaning::NoRepository),
    ("returned error: 404", Meaning::NoRepository),
    ("returned error: 410", Meaning::NoRepository),
    ("no such repository", Meaning::NoRepository),
    ("not valid: is this a git repository", Meaning::NoRepository),
    ("Authentication failed", Meaning::Refused),
    ("could not read Username", Meaning::Refused),
    ("could not read Password", Meaning::Refused),
    // The same, where nobody may be asked.
    ("unable to get password from user", Meaning::Refused),
    ("Permission denied", Meaning::Refused),
    ("has changed and you have requested strict checking", Meaning::Refused),
    ("Host key verification failed", Meaning::Refused),
    ("returned error: 401", Meaning::Refused),
    ("returned error: 403", Meaning::Refused),
    ("ccess denied", Meaning::Refused),
    ("dubious ownership", Meaning::Refused),
    ("not allowed", Meaning::Refused),
    ("Could not resolve", Meaning::Unreachable),
    ("nable to look up", Meaning::Unreachable),
    ("nable to connect", Meaning::Unreachable),
    ("ailed to connect", Meaning::Unreachable),
    ("onnection refused", Meaning::Unreachable),
    ("onnection timed out", Meaning::Unreachable),
    ("onnection reset", Meaning::Unreachable),
    ("onnection closed", Meaning::Unreachable),
    ("roken pipe", Meaning::Unreachable),
    ("closed by remote host", Meaning::Unreachable),
    ("peration timed out", Meaning::Unreachable),
    ("Operation too slow", Meaning::Unreachable),
    ("etwork is unreachable", Meaning::Unreachable),
    ("o route to host", Meaning::Unreachable),
    ("RPC failed", Meaning::Unreachable),
    ("hung up", Meaning::Unreachable),
    ("early EOF", Meaning::Unreachable),
    ("unexpected disconnect", Meaning::Unreachable),
    ("returned error: 5", Meaning::Unreachable),
    ("returned error: 429", Meaning::Unreachable),
    ("certificate", Meaning::Unreachable),
    ("SSL", Meaning::Unreachable),
    ("GnuTLS", Meaning::Unreachable),
    ("unable to access 'http", Meaning::Unreachable),
    // Of our own clone.
    ("not a git repository", Meaning::Broken),
    ("bad object", Meaning::Broken),
    ("bad tree object", Meaning::Broken),
    ("corrupt", Meaning::Broken),
    ("inflate", Meaning::Broken),
    ("packfile", Meaning::Broken),
    ("index file", Meaning::Broken),
    ("missing blob", Meaning::Broken),
    ("missing tree", Meaning::Broken),
    ("missing commit", Meaning::Broken),
    ("unable to read", Meaning::Broken),
    ("Could not read", Meaning::Broken),
    ("unable to find", Meaning::Broken),
    ("could not parse", Meaning::Broken),
    ("bad config", Meaning::Broken),
    ("invalid sha1 pointer", Meaning::Broken),
    ("loose object", Meaning::Broken),
    ("did not send all necessary objects", Meaning::Broken),
    (".lock': File exists", Meaning::Broken),
    ("unable to update local ref", Meaning::Broken),
    ("cannot lock ref", Meaning::Broken),
];

/// Ends what git says of every failure of a transport.
const ENDED: &str = "Could not read from remote repository";

/// What the programs here say counts before what others say, of which the last does: a server greets whoever
/// comes (ssh's banner), and says first what it does and then what went wrong.
fn meaning(said: &str) -> Meaning {
    let lines =
        || said.split(['\n', '\r']).filter(|line| !["warning: ", "hint: "].iter().any(|it| line.starts_with(it)));
    let is_own = |line: &&str| {
        ["fatal: ", "error: ", "ssh: "].iter().any(|start| line.starts_with(start))
            && !line.starts_with("fatal: remote error: ")
    };
    let own = lines().filter(is_own).collect::<Vec<_>>().join("\n").replace(ENDED, "");
    // Our clone is not what a server finds broken or full.
    let of_others = |line| known(line).filter(|meaning| !matches!(meaning, Meaning::Broken | Meaning::Full));
    let of_others = || lines().filter(|line| !is_own(line)).rev().find_map(of_others);
    match known(&own).or_else(of_others) {
        Some(meaning) => meaning,
        None if said.contains(ENDED) => Meaning::Unreachable,
        None => Meaning::Other,
    }
}

fn known(said: &str) -> Option<Meaning> {
    PHRASES.iter().find(|(phrase, _)| said.contains(phrase)).map(|(_, meaning)| *meaning)
}

const NO_LOGIN: &str = "give git a user and a password or token for it, by a credential helper of the user that airlock \
                        runs as";

/// What an admin can do about what git, curl and ssh say; the first that fits counts.
const REMEDIES: &[(&str, &str)] = &[
    (
        "has changed and you have requested strict checking",
        "find out why its host key is another one than before; then, as the user that airlock runs as, take the old \
         one out of known_hosts (`ssh-keygen -R HOST`) and the new one in",
    ),
    (
        "Host key verification failed",
        "compare its host key (`ssh-keyscan HOST`) with what its admin says, and put it into ~/.ssh/known_hosts of the \
         user that airlock runs as",
    ),
    (
        "Permission denied (",
        "let it know a public key of the user that airlock runs as, whose private key is in ~/.ssh without a \
         passphrase, or in an agent",
    ),
    ("could not read Username", NO_LOGIN),
    ("could not read Password", NO_LOGIN),
    ("unable to get password from user", NO_LOGIN),
    ("Authentication failed", "the user and password or token that git has for it are not the ones that it takes"),
    ("certificate", "if an authority of your own signed its certificate, name that in git's http.sslCAInfo"),
];

fn remedy(said: &str) -> String {
    let found = REMEDIES.iter().find(|(phrase, _)| said.contains(phrase));
    found.map(|(_, remedy)| format!(". What to do: {remedy}")).unwrap_or_default()
}

/// Characters of git's words that are repeated.
const ESSENCE: usize = 300;

/// Whether a line only accompanies others: nobody is asked for a password, by a program that fails.
fn is_noise(line: &str) -> bool {
    let polite = [ENDED, "Please make sure you have", "and the repository exists", "unable to read askpass response"];
    polite.iter().any(|words| line.contains(words))
}

/// The lines that say what went wrong, in one.
fn essence(said: &str) -> String {
    let lines = || said.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let starts = |line: &str| ["fatal: ", "error: ", "remote: ", "ssh: "].iter().any(|start| line.starts_with(start));
    // What ssh says begins with nothing of the kind.
    let telling = |line: &&str| !is_noise(line) && (starts(line) || known(line).is_some());
    let progress = |line: &&str| line.contains('%') || line.contains("objects: ") || line.starts_with("remote: Total ");
    let mut chosen: Vec<_> = lines().filter(telling).filter(|line| !progress(line)).take(3).collect();
    if chosen.is_empty() {
        chosen.extend(lines().rfind(|line| !is_noise(line)).or_else(|| lines().next()));
    }
    let strip =
        |line: &str| line.trim_start_matches("fatal: ").trim_start_matches("error: ").trim_end_matches('.').to_owned();
    let text = chosen.into_iter().map(strip).collect::<Vec<_>>().join("; ");
    text.chars().take(ESSENCE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_is_sorted_by_who_has_to_act() {
        let ended = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access\n";
        for (said, means) in [
            (format!("fatal: '/x' does not appear to be a git repository\n{ended}"), Meaning::NoRepository),
            (
                "remote: Repository not found.\nfatal: repository 'https://h/x/' not found\n".into(),
                Meaning::NoRepository,
            ),
            ("remote: a page\nfatal: repository 'https://h/x/' not found\n".into(), Meaning::NoRepository),
            ("fatal: unable to get password from user\n".into(), Meaning::Refused),
            ("fatal: remote error: access denied or repository not exported: /x\n".into(), Meaning::NoRepository),
            (format!("git@h: Permission denied (publickey).\r\n{ended}"), Meaning::Refused),
            (format!("Host key verification failed.\n{ended}"), Meaning::Refused),
            ("fatal: could not read Username for 'https://h': terminal prompts disabled\n".into(), Meaning::Refused),
            ("fatal: unable to access 'https://h/x/': Could not resolve host: h\n".into(), Meaning::Unreachable),
            (
                "fatal: unable to access 'https://h/x/': The requested URL returned error: 503\n".into(),
                Meaning::Unreachable,
            ),
            (format!("ssh: connect to host h port 22: Connection refused\n{ended}"), Meaning::Unreachable),
            ("fatal: write error: Broken pipe\n".into(), Meaning::Unreachable),
            ("fatal: sha1 file 'x' write error. Out of diskspace\nfatal: index-pack failed\n".into(), Meaning::Full),
            (ended.into(), Meaning::Unreachable),
            ("ERROR: Repository not found.\n".to_owned() + ended, Meaning::NoRepository),
            ("conq: repository access denied.\n".to_owned() + ended, Meaning::Refused),
            // What is in a banner, on the other side, or beside the point.
            (
                format!("Access denied to strangers.\nConnection closed by 192.0.2.1 port 22\r\n{ended}"),
                Meaning::Unreachable,
            ),
            (
                format!("Access denied to strangers.\nConnection to h closed by remote host.\r\n{ended}"),
                Meaning::Unreachable,
            ),
            ("Access denied to strangers.\nfatal: early EOF\n".into(), Meaning::Unreachable),
            (
                "remote: aborting due to possible repository corruption on the remote side.\nfatal: early EOF\n".into(),
                Meaning::Unreachable,
            ),
            ("remote: fatal: bad object x\nfatal: protocol error: bad pack header\n".into(), Meaning::Other),
            ("fatal: remote error: upload-pack: corrupt\n".into(), Meaning::Other),
            ("remote: error: No space left on device\nfatal: the remote end hung up\n".into(), Meaning::Unreachable),
            ("warning: unable to access '/x': Permission denied\nfatal: bad object x\n".into(), Meaning::Broken),
            ("error: inflate: data stream error\nfatal: bad object x\n".into(), Meaning::Broken),
            ("fatal: mismatched algorithms: client sha1; server sha256\n".into(), Meaning::Other),
        ] {
            assert_eq!(meaning(&said), means, "{said}");
        }
    }

    #[test]
    fn of_what_git_says_the_telling_lines_are_repeated() {
        let said = "Cloning\nremote: Counting objects:  50% (1/2)\rremote: Counting objects: 100%\nremote: Go away.\n\
                    fatal: no\nhint: x\n";
        assert_eq!(essence(said), "remote: Go away; no");
        assert_eq!(essence("one\ntwo\n"), "two");
        let ended = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access \
                     rights\nand the repository exists.\n";
        assert_eq!(essence(ended), "Could not read from remote repository");
        assert_eq!(essence(&format!("hello\r\nno entry\r\n{ended}")), "no entry");
        let asked =
            "error: unable to read askpass response from 'false'\nfatal: could not read Username for 'https://h'\n";
        assert_eq!(essence(asked), "could not read Username for 'https://h'");
        assert!(essence(&"fatal: x".repeat(500)).len() <= ESSENCE);
    }

    #[test]
    fn who_is_not_let_in_is_told_what_to_do() {
        let ended = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access\n";
        for (said, detail) in [
            (
                format!("git@h: Permission denied (publickey).\r\n{ended}"),
                "git@h: Permission denied (publickey). What to do: let",
            ),
            (format!("Host key verification failed.\r\n{ended}"), "Host key verification failed. What to do: compare"),
            (
                format!(
                    "@ WARNING: x @\nHost key for h has changed and you have requested strict checking.\nHost key verification failed.\n{ended}"
                ),
                "Host key for h has changed and you have requested strict checking; Host key verification failed. What to do: find",
            ),
            (ended.into(), "Could not read from remote repository"),
            ("fatal: unable to get password from user\n".into(), "unable to get password from user. What to do: give"),
        ] {
            let error = GitError::of_program("ssh://h/x", &said).to_string();
            assert!(error.contains(&format!(": {detail}")), "{error}");
        }
    }

    #[test]
    fn a_moved_tag_is_named() {
        let tree = |digit| TreeHash::from_bytes([digit; 20]);
        let moved = Some(MovedTag { tag: "v1.2.0".into(), tree: tree(2) });
        let error = GitError::NoTree { tree: tree(1), address: "https://h/x".into(), moved };
        let text = error.to_string();
        assert!(text.contains("tag v1.2.0 has tree 0202") && text.contains("it was moved"), "{text}");
    }
}
