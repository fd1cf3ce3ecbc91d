-- A number that differs when another connection has committed since this one last looked. No index: no table is read.
PRAGMA data_version
