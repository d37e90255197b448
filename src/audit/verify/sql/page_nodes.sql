-- What each seal keeps of the tree of seals: the perfect subtrees that it completes, by height.
-- $1 bigint: only those of seals from this one on
-- $2 bigint: at most so many
select seal, nodes from seals where seal >= $1 order by seal limit $2
