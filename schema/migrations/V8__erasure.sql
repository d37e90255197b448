-- Personal data that is erased on request.

alter table outbox drop constraint outbox_kind;
alter table outbox add constraint outbox_kind check (kind in ('match', 'subscription', 'erasure'));

alter table inbox add column erased_at timestamptz;
alter table inbox add constraint inbox_erased_at check (erased_at is null or outcome = 'parked' or body = '')
  not valid;

create index personal_email on personal (lower(profile->>'email'))
 where profile->>'email' is not null;
