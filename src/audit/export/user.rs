//! The history of one user.
use super::{Chosen, ExportError, Writer};
pub(super) async fn write(
    _writer: &mut Writer<'_>,
    user_id: &str,
) -> Result<(i64, Chosen), ExportError> {
    Err(ExportError::UnknownUser(user_id.to_owned()))
}
pub(super) fn streams(user_id: &str, purchases: &[String]) -> (Vec<&'static str>, Vec<String>) {
    let types = std::iter::once("user").chain(purchases.iter().map(|_| "purchase"));
    let ids = std::iter::once(user_id).chain(purchases.iter().map(String::as_str));
    (types.collect(), ids.map(str::to_owned).collect())
}
