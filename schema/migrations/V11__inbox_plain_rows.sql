-- A delivery of up to 3.5 KB is stored as it came, two to a page at least. Compressing bodies took more of the processor than
-- all else that the row costs; only longer ones still are, and then most stay in their row, too. Rows that are there stay as they are.

alter table inbox set (toast_tuple_target = 3500);
