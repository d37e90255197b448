-- Which fields of a request differ from those of the first one under the same key: a digest of each, never a value.
alter table requests add column fields json not null default '{}';
alter table requests alter column fields drop default;
