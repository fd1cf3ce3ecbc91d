-- Whether a trigger takes requests, and how many bytes of arguments. ?1: its name. By primary key.
SELECT active, max_arguments FROM triggers WHERE name = ?1
