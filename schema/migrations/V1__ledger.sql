-- The history. A placeholder until the real schema is here.
create table events (
    shard integer not null,
    position bigint not null,
    payload json not null,
    primary key (shard, position)
);
create table heads (
    shard integer primary key,
    position bigint not null
);
