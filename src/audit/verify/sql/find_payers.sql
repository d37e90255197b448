-- Purchases that are shown with another payer's address than is kept of them. Never says which.
-- Gives `missing` (there is no such row), shard, position, stream, what.
select false as missing, null::smallint as shard, null::bigint as position, 'purchase/' || p.purchase_id as stream,
       'purchases: the address of the payer is not the one that is kept' as what
  from purchases p
 cross join lateral (select array_agg(known.profile->>'email') filter (where known.profile->>'email' is not null) as all
                       from personal known
                      where known.aggregate_type = 'purchase' and known.aggregate_id = p.purchase_id) as emails
 where case when p.user_id is not null or p.payer_erased then p.payer_email is not null
            when p.payer_email is null then emails.all is not null
            else p.payer_email <> all(coalesce(emails.all, '{}')) end
 order by stream
