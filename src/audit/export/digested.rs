//! A file that knows its length and its SHA-256 while it is written, and one from an earlier run that is continued
//! behind its last complete line.
//!
//! Needs as much memory as a buffer, however long the file is.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::path::Path;

use credit_ledger_verify::Hash;
use sha2::{Digest as _, Sha256};

/// How much is written or read at once.
const BUFFER_BYTES: usize = 256 * 1024;
/// The longest last line that is looked at. An event has a few hundred bytes.
const LINE_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file that is being written.
pub struct Digested {
    file: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Digested {
    /// A new, empty file in the place of whatever was there.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, File::create(path)?),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// Brings everything to the disk. Gives length and SHA-256.
    pub fn close(mut self) -> io::Result<(u64, Hash)> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok((self.bytes, self.hash.finalize().into()))
    }
}

impl Write for Digested {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// What an earlier run left of a file: its complete lines.
pub struct Left {
    /// How many lines.
    pub lines: u64,
    /// The last one, without its end.
    pub last: String,
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Left {
    /// Looks at a file. `None`: it is not there, or has no complete line.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut seen = Sha256::new();
        let (mut complete, mut lines) = (seen.clone(), 0_u64);
        // Where the last complete line begins and ends, and where the file does so far.
        let (mut begin, mut end, mut at) = (0_u64, 0_u64, 0_u64);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            let mut rest = &buffer[..length];
            while let Some(index) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, after) = rest.split_at(index + 1);
                seen.update(line);
                at += line.len() as u64;
                (begin, end, lines) = (end, at, lines + 1);
                complete = seen.clone();
                rest = after;
            }
            seen.update(rest);
            at += rest.len() as u64;
        }
        if lines == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            lines,
            last: read_line(&mut file, begin, end)?,
            file,
            hash: complete,
            bytes: end,
        }))
    }

    /// Goes on behind the last complete line; what is torn is cut off.
    pub fn go_on(mut self) -> io::Result<Digested> {
        self.file.set_len(self.bytes)?;
        self.file.seek(SeekFrom::Start(self.bytes))?;
        Ok(Digested {
            file: BufWriter::with_capacity(BUFFER_BYTES, self.file),
            hash: self.hash,
            bytes: self.bytes,
        })
    }
}

fn read_line(file: &mut File, begin: u64, end: u64) -> io::Result<String> {
    let length = end - begin - 1;
    if length > LINE_MAX_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "its last line is too long",
        ));
    }
    file.seek(SeekFrom::Start(begin))?;
    let mut line = String::new();
    file.take(length).read_to_string(&mut line)?;
    Ok(line)
}
