-- A fence is written as reserved and soon again as active. Its second version stands on the same page where that has room, and then needs no
-- second entry in the index, which is at a random place: half of each page is kept for that. Pages that are full already fill up as before.

ALTER TABLE domicile.home SET (fillfactor = 50);
