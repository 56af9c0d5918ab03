// The rows of a kernel table, in no particular order: ROW(name), or ROW_SHARED(name) with a scratch function name_shared.
ROW(neg), ROW(add),
