-- What operators look at: deliveries by what became of them, and when each provider last delivered.
create index inbox_outcome on inbox (outcome, source, received_at);
