//! Long texts that anybody may ask for, sent piece by piece: for each who asks and does not take it a piece is held, not the
//! whole.

use std::convert::Infallible;

use actix_web::body::SizedStream;
use actix_web::web::Bytes;
use futures_util::stream::{self, Stream};

/// How much of a text is handed to the connection at once, which holds about twice as much.
const PIECE_BYTES: usize = 16 * 1024;

/// A text in pieces.
pub fn pieces(text: &'static str) -> SizedStream<impl Stream<Item = Result<Bytes, Infallible>>> {
    let pieces = text.as_bytes().chunks(PIECE_BYTES);
    let pieces = pieces.map(|piece| Ok(Bytes::from_static(piece)));
    SizedStream::new(text.len() as u64, stream::iter(pieces))
}
