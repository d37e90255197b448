//! A newer release comes to a database that an older one has made, while it is in use.
