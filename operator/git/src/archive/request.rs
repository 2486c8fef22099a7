//! The arguments of an archive, as the client's git passes them on.

use std::io::BufRead;

use gix::bstr::{BString, ByteSlice as _};

use crate::pktline::{Packet, PacketError, ReadLimits, Reader, text};

/// Most arguments, as in git.
const MAX_ARGUMENTS: usize = 64;
/// Longest of all prefixes.
const MAX_PREFIX: usize = 4_096;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The formats that there are.
    List,
    /// An archive.
    Archive(Wanted),
}

/// The archive that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub(super) format: Format,
    /// 0 to 9.
    pub(super) level: Option<u32>,
    pub(super) prefix: BString,
    /// `<reference>[:<folder>]`
    pub(super) treeish: BString,
    pub(super) paths: Vec<BString>,
}

/// A format of archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// tar.
    Tar,
    /// tar, compressed with gzip.
    TarGz,
    /// zip.
    Zip,
}

/// Why a request is not one. The text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The framing.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Not arguments.
    #[error("the request is not a list of arguments")]
    Form,
    /// Too many arguments.
    #[error("an archive takes at most {MAX_ARGUMENTS} arguments")]
    TooMany,
    /// An unknown option.
    #[error("the option {0} is not supported; there are --format, --prefix, --list, --verbose and -0 to -9")]
    Option(String),
    /// An unknown format.
    #[error("the archive format {0} is not known; use one of tar, tgz, tar.gz and zip")]
    Format(String),
    /// Too long a prefix.
    #[error("the prefix may have {MAX_PREFIX} bytes")]
    Prefix,
    /// No tree.
    #[error("say what to archive: a branch or tag, such as HEAD")]
    Nothing,
}

impl Format {
    /// The formats as `--list` shows them.
    pub(super) const LIST: &str = "tar\ntgz\ntar.gz\nzip\n";

    fn parse(name: &[u8]) -> Result<Self, RequestError> {
        match name {
            b"tar" => Ok(Self::Tar),
            b"tgz" | b"tar.gz" => Ok(Self::TarGz),
            b"zip" => Ok(Self::Zip),
            other => Err(RequestError::Format(other.as_bstr().to_string())),
        }
    }
}

/// Reads a request: a packet for each argument, then a flush.
///
/// # Errors
/// When it is none, or asks for what is not offered.
pub fn parse(input: &mut dyn BufRead) -> Result<Request, RequestError> {
    let mut reader = Reader::new(input, ReadLimits { packets: MAX_ARGUMENTS as u64 + 1, bytes: 1 << 20 });
    let mut arguments = Vec::new();
    loop {
        match reader.read()? {
            Some(Packet::Flush) => return understand(arguments),
            Some(Packet::Data(line)) => {
                let argument = text(line).strip_prefix(b"argument ").ok_or(RequestError::Form)?;
                arguments.push(BString::from(argument));
                if arguments.len() > MAX_ARGUMENTS {
                    return Err(RequestError::TooMany);
                }
            }
            _ => return Err(RequestError::Form),
        }
    }
}

pub(super) fn understand(arguments: Vec<BString>) -> Result<Request, RequestError> {
    let mut wanted = Wanted {
        format: Format::Tar,
        level: None,
        prefix: BString::default(),
        treeish: BString::default(),
        paths: vec![],
    };
    let (mut list, mut words, mut options) = (false, Vec::new(), true);
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if !options || !argument.starts_with(b"-") || argument == "-" {
            words.push(argument);
            continue;
        }
        let (name, value) = argument
            .split_once_str("=")
            .map_or((argument.as_slice(), None), |(name, value)| (name, Some(BString::from(value))));
        let mut value = || value.clone().or_else(|| arguments.next()).unwrap_or_default();
        match name {
            b"--" => options = false,
            b"--format" => wanted.format = Format::parse(&value())?,
            b"--prefix" => wanted.prefix = value(),
            b"--list" | b"-l" => list = true,
            // What is verbose are names on channel 2, which nobody needs; attributes of a work tree mean nothing without one.
            b"--verbose" | b"-v" | b"--no-verbose" | b"--worktree-attributes" => {}
            [b'-', digit @ b'0'..=b'9'] => wanted.level = Some(u32::from(digit - b'0')),
            other => return Err(RequestError::Option(other.as_bstr().to_string())),
        }
    }
    if list {
        return Ok(Request::List);
    }
    if wanted.prefix.len() > MAX_PREFIX || wanted.prefix.contains(&0) {
        return Err(RequestError::Prefix);
    }
    let mut words = words.into_iter();
    wanted.treeish = words.next().ok_or(RequestError::Nothing)?;
    wanted.paths = words.collect();
    Ok(Request::Archive(wanted))
}
