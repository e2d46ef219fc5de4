#include "worker/date.h"

struct view date_line(int64_t unix_ms)
{
    static _Thread_local struct http_date date;
    return http_date_line(&date, unix_ms);
}
