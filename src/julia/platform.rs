//! Platforms, as far as a mirror tells them apart: operating system, architecture, C library and
//! calling convention.
//!
//! Julia's platforms have more tags (libgfortran, C++ ABI, CUDA, MPI, Julia version, …), and a
//! package may choose between them with code of its own. A mirror must not run that code, so it
//! ignores those tags and takes the superset.

use super::artifacts::{Artifact, Tags};
use std::fmt;
use std::str::FromStr;

/// A platform. Written as a triplet, such as `x86_64-linux-gnu`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: &'static str,
    arch: &'static str,
    libc: Option<&'static str>,
    call_abi: Option<&'static str>,
}

/// Not a platform that Julia runs on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text} is not a platform; known are {}", KNOWN_PLATFORMS.join(", "))]
pub struct ParsePlatformError {
    text: String,
}

/// The platforms that Julia packages have binaries for, to choose from.
pub const KNOWN_PLATFORMS: [&str; 18] = [
    "x86_64-linux-gnu",
    "aarch64-linux-gnu",
    "i686-linux-gnu",
    "armv7l-linux-gnueabihf",
    "armv6l-linux-gnueabihf",
    "powerpc64le-linux-gnu",
    "riscv64-linux-gnu",
    "x86_64-linux-musl",
    "aarch64-linux-musl",
    "i686-linux-musl",
    "armv7l-linux-musleabihf",
    "armv6l-linux-musleabihf",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
    "x86_64-w64-mingw32",
    "i686-w64-mingw32",
    "x86_64-unknown-freebsd",
    "aarch64-unknown-freebsd",
];

impl Platform {
    /// The operating system, as in the tag `os`: `linux`, `macos`, `windows`, `freebsd`, `openbsd`.
    pub fn os(&self) -> &'static str {
        self.os
    }

    /// The architecture, as in the tag `arch`.
    pub fn arch(&self) -> &'static str {
        self.arch
    }

    /// The C library, as in the tag `libc`: `glibc` or `musl`, on Linux only.
    pub fn libc(&self) -> Option<&'static str> {
        self.libc
    }

    /// The calling convention, as in the tag `call_abi`: `eabihf` or `eabi`, on 32-bit ARM Linux only.
    pub fn call_abi(&self) -> Option<&'static str> {
        self.call_abi
    }

    /// What this program was built for; `None` where Julia does not run.
    pub fn host() -> Option<Self> {
        let os = std::env::consts::OS;
        let os = ["linux", "macos", "windows", "freebsd", "openbsd"].into_iter().find(|known| *known == os)?;
        let arch = match std::env::consts::ARCH {
            "x86" => "i686",
            "arm" => "armv7l",
            "powerpc64" => "powerpc64le",
            other => arch(other)?,
        };
        Some(Self::new(os, arch, cfg!(target_env = "musl").then_some("musl"), None))
    }

    /// Whether an artifact may be meant for this platform: of the four tags, each that both sides
    /// have must be equal (Julia `base/binaryplatforms.jl`, `platforms_match`).
    pub fn matches(&self, tags: &Tags) -> bool {
        let tag = |key: &str| tags.get(key).map(String::as_str);
        let (os, arch) = (tag("os"), tag("arch"));
        let libc = tag("libc").or_else(|| default_libc(os?));
        let call_abi = tag("call_abi").or_else(|| default_call_abi(os?, arch?));
        let pairs = [(Some(self.os), os), (Some(self.arch), arch), (self.libc, libc), (self.call_abi, call_abi)];
        pairs.into_iter().all(|(ours, theirs)| ours.zip(theirs).is_none_or(|(ours, theirs)| ours == theirs))
    }

    fn new(os: &'static str, arch: &'static str, libc: Option<&'static str>, call_abi: Option<&'static str>) -> Self {
        let libc = libc.filter(|_| os == "linux").or_else(|| default_libc(os));
        let call_abi = call_abi.filter(|_| is_linux_arm(os, arch)).or_else(|| default_call_abi(os, arch));
        Self { os, arch, libc, call_abi }
    }
}

fn default_libc(os: &str) -> Option<&'static str> {
    (os == "linux").then_some("glibc")
}

fn default_call_abi(os: &str, arch: &str) -> Option<&'static str> {
    is_linux_arm(os, arch).then_some("eabihf")
}

fn is_linux_arm(os: &str, arch: &str) -> bool {
    os == "linux" && matches!(arch, "armv7l" | "armv6l")
}

impl FromStr for Platform {
    type Err = ParsePlatformError;

    /// Reads a triplet with or without more tags behind it, as Julia writes it, also in the
    /// `Julia-System` header; the further tags are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParsePlatformError { text: super::error::quoted(text) };
        let lowercase = text.to_ascii_lowercase();
        let parts: Vec<&str> = lowercase.split('-').collect();
        parse(&parts).ok_or_else(error)
    }
}

fn parse(parts: &[&str]) -> Option<Platform> {
    let (arch_name, parts) = parts.split_first()?;
    let arch = arch(arch_name)?;
    let (os, rest) = match parts {
        ["apple", darwin, rest @ ..] if is_versioned(darwin, "darwin") => ("macos", rest),
        ["w64", "mingw32", rest @ ..] => ("windows", rest),
        [name, rest @ ..] if bsd_or_linux(name).is_some() => (bsd_or_linux(name)?, rest),
        [_vendor, name, rest @ ..] => (bsd_or_linux(name)?, rest),
        _ => return None,
    };
    let (libc, call_abi, tags) = match rest {
        [env, tags @ ..] if os == "linux" && !is_tag(env) => {
            let (libc, call_abi) = environment(env)?;
            (Some(libc), call_abi, tags)
        }
        tags => (None, None, tags),
    };
    tags.iter().all(|tag| is_tag(tag)).then(|| Platform::new(os, arch, libc, call_abi))
}

/// The spellings are those of Julia's `arch_mapping`.
fn arch(name: &str) -> Option<&'static str> {
    Some(match name {
        "x86_64" | "amd64" => "x86_64",
        "i386" | "i486" | "i586" | "i686" => "i686",
        "aarch64" | "arm64" => "aarch64",
        "armv7l" | "arm" => "armv7l",
        "armv6l" => "armv6l",
        "powerpc64le" | "ppc64le" => "powerpc64le",
        "riscv64" | "rv64" => "riscv64",
        _ => return None,
    })
}

fn bsd_or_linux(name: &str) -> Option<&'static str> {
    let bsd = ["freebsd", "openbsd"].into_iter().find(|os| is_versioned(name, os));
    bsd.or((name == "linux").then_some("linux"))
}

/// `darwin`, `darwin20`, `freebsd13.2`
fn is_versioned(name: &str, os: &str) -> bool {
    name.strip_prefix(os).is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

fn environment(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    Some(match name {
        "gnu" => ("glibc", None),
        "gnueabihf" => ("glibc", Some("eabihf")),
        "gnueabi" => ("glibc", Some("eabi")),
        "musl" => ("musl", None),
        "musleabihf" => ("musl", Some("eabihf")),
        "musleabi" => ("musl", Some("eabi")),
        _ => return None,
    })
}

/// `libgfortran5`, `cxx11`, `libstdcxx30`, `julia_version+1.10.2`
fn is_tag(part: &str) -> bool {
    part.contains('+') || ["libgfortran", "libstdcxx", "cxx"].iter().any(|tag| part.starts_with(tag))
}

impl fmt::Display for Platform {
    /// The triplet, as Julia writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let libc = match self.libc {
            Some("musl") => "-musl",
            Some(_) => "-gnu",
            None => "",
        };
        let os = match self.os {
            "macos" => "apple-darwin",
            "windows" => "w64-mingw32",
            "freebsd" => "unknown-freebsd",
            "openbsd" => "unknown-openbsd",
            os => os,
        };
        write!(f, "{}-{os}{libc}{}", self.arch, self.call_abi.unwrap_or_default())
    }
}

/// The platforms whose artifacts are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platforms {
    /// Every platform.
    All,
    /// These.
    Some(Vec<Platform>),
}

impl Platforms {
    /// Whether an artifact is wanted. One that is not specific to a platform always is.
    pub fn applies(&self, artifact: &Artifact) -> bool {
        self.match_tags(artifact.platform_specific.then_some(&artifact.tags))
    }

    /// The same by the tags of an artifact; `None` is one that is not specific to a platform.
    pub fn match_tags(&self, tags: Option<&Tags>) -> bool {
        match (self, tags) {
            (Self::All, _) | (_, None) => true,
            (Self::Some(platforms), Some(tags)) => platforms.iter().any(|platform| platform.matches(tags)),
        }
    }

    /// The triplets, or `all`: what [`Platforms::from_str`] reads.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::All => vec!["all".to_owned()],
            Self::Some(platforms) => platforms.iter().map(Platform::to_string).collect(),
        }
    }
}

impl FromStr for Platforms {
    type Err = ParsePlatformError;

    /// Reads `host`, `all` or a triplet.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self::All),
            "host" => match Platform::host() {
                Some(host) => Ok(Self::Some(vec![host])),
                None => Err(ParsePlatformError { text: super::error::quoted(text) }),
            },
            triplet => Ok(Self::Some(vec![triplet.parse()?])),
        }
    }
}

impl FromIterator<Self> for Platforms {
    /// All of several selections, each platform once.
    fn from_iter<I: IntoIterator<Item = Self>>(selections: I) -> Self {
        let mut all = Vec::new();
        for selection in selections {
            match selection {
                Self::All => return Self::All,
                Self::Some(platforms) => all.extend(platforms),
            }
        }
        all.sort_unstable();
        all.dedup();
        Self::Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn tags(text: &str) -> Tags {
        text.split_whitespace().filter_map(|tag| tag.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    }

    #[test]
    fn the_known_platforms_are_written_as_they_are_read() {
        for known in KNOWN_PLATFORMS {
            assert_eq!(platform(known).to_string(), known);
        }
    }

    #[test]
    fn julias_spellings_are_understood() {
        for (text, triplet) in [
            ("x86_64-apple-darwin20", "x86_64-apple-darwin"),
            ("arm64-apple-darwin22.1.0", "aarch64-apple-darwin"),
            ("x86_64-unknown-freebsd13", "x86_64-unknown-freebsd"),
            ("amd64-freebsd13.2", "x86_64-unknown-freebsd"),
            ("aarch64-unknown-openbsd7.4", "aarch64-unknown-openbsd"),
            ("x86_64-pc-linux-gnu", "x86_64-linux-gnu"),
            ("x86_64-linux", "x86_64-linux-gnu"),
            ("arm-linux-gnueabihf", "armv7l-linux-gnueabihf"),
            ("armv7l-linux-gnu", "armv7l-linux-gnueabihf"),
            ("armv6l-linux-musl", "armv6l-linux-musleabihf"),
            ("armv7l-linux-gnueabi", "armv7l-linux-gnueabi"),
            ("X86_64-Linux-GNU", "x86_64-linux-gnu"),
            ("x86_64-linux-gnu-libgfortran5-cxx11-libstdcxx30-julia_version+1.10.2", "x86_64-linux-gnu"),
            ("x86_64-linux-musl-cxx11-cuda+12.1-mpi+mpich", "x86_64-linux-musl"),
            ("x86_64-linux-libgfortran4", "x86_64-linux-gnu"),
            ("i686-w64-mingw32-libgfortran5-cxx11-julia_version+1.11.0", "i686-w64-mingw32"),
            ("aarch64-apple-darwin-libgfortran5-julia_version+1.12.0", "aarch64-apple-darwin"),
        ] {
            assert_eq!(platform(text).to_string(), triplet, "{text}");
        }
    }

    #[test]
    fn others_are_refused_with_the_list() {
        for bad in [
            "",
            "-",
            "linux",
            "x86_64",
            "x86_64-",
            "sparc-linux-gnu",
            "x86_64-linux-glibc",
            "x86_64-linux-gnu-",
            "x86_64-linux-gnu-foo",
            "x86_64-apple-ios",
            "x86_64-w64-mingw64",
            "x86_64-netbsd",
            "x86_64-a-b-linux-gnu",
            "x86_64-apple-darwinx",
            "x86_64 linux gnu",
            "x86_64-linux-gnu\n",
        ] {
            let error = bad.parse::<Platform>().unwrap_err().to_string();
            assert!(error.contains("x86_64-linux-gnu") && !error.contains('\n'), "{bad}: {error}");
        }
    }

    #[test]
    fn four_tags_decide_where_both_sides_have_them() {
        let glibc = platform("x86_64-linux-gnu");
        for (artifact, applies) in [
            ("os=linux arch=x86_64 libc=glibc", true),
            ("os=linux arch=x86_64", true),
            ("os=linux arch=x86_64 libc=musl", false),
            ("os=linux arch=aarch64 libc=glibc", false),
            ("os=macos arch=x86_64", false),
            ("os=linux arch=x86_64 libc=glibc call_abi=eabihf", true),
            ("os=linux arch=x86_64 libgfortran_version=3.0.0 cuda=none julia_version=1.6 os_version=99", true),
            ("os=linux", true),
            ("arch=x86_64", true),
            ("os=illumos arch=x86_64", false),
        ] {
            assert_eq!(glibc.matches(&tags(artifact)), applies, "{artifact}");
        }
    }

    #[test]
    fn what_is_left_out_has_julias_default() {
        let musl = platform("x86_64-linux-musl");
        assert!(!musl.matches(&tags("os=linux arch=x86_64")));
        let (hard, soft) = (platform("armv7l-linux-gnueabihf"), platform("armv7l-linux-gnueabi"));
        assert!(hard.matches(&tags("os=linux arch=armv7l")) && !soft.matches(&tags("os=linux arch=armv7l")));
        assert!(soft.matches(&tags("os=linux arch=armv7l call_abi=eabi")));
        assert!(platform("x86_64-apple-darwin").matches(&tags("os=macos arch=x86_64 libc=glibc")));
    }

    #[test]
    fn a_selection_is_the_union_of_its_parts() {
        let select = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Platforms>();
        let foreign = |platform_specific| Artifact {
            name: "a".into(),
            tree: crate::protocol::TreeHash::EMPTY,
            lazy: false,
            platform_specific,
            tags: tags("os=windows arch=i686"),
            has_download: false,
            downloads: Vec::new(),
        };
        let linux = select(&["x86_64-linux-gnu", "x86_64-linux-gnu"]);
        assert_eq!(linux, Platforms::Some(vec![platform("x86_64-linux-gnu")]));
        assert!(!linux.applies(&foreign(true)) && linux.applies(&foreign(false)));
        assert!(select(&["x86_64-linux-gnu", "i686-w64-mingw32"]).applies(&foreign(true)));
        assert_eq!(select(&["x86_64-linux-gnu", "all"]), Platforms::All);
        assert!(Platforms::All.applies(&foreign(true)));
        assert_eq!(select(&["host"]), Platforms::Some(Platform::host().into_iter().collect()));
        assert!("none".parse::<Platforms>().is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics_and_what_is_read_is_stable(
            text in r"(x86_64|arm|i386|\PC{0,3})(-(apple|w64|linux|gnu|mingw32|freebsd1|a\+b|\PC{0,3})){0,4}"
        ) {
            if let Ok(platform) = text.parse::<Platform>() {
                prop_assert_eq!(platform.to_string().parse(), Ok(platform));
            }
        }
    }
}
