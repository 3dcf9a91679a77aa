-- PromQL's rate() for any DuckDB that has attached the tables as `lake`: per second, with counter restarts, and
-- extrapolated to the ends of the window as Prometheus does it.
--
--   SELECT labels['pod'], rate FROM rate_at('http_requests_total', TIMESTAMP '2026-11-21 12:05:00', INTERVAL 5 MINUTE);
CREATE OR REPLACE TEMP MACRO rate_at(metric, moment, width) AS TABLE
WITH points AS (
    SELECT series_id, labels, epoch_ms(time) AS ms, value, lag(value) OVER (PARTITION BY series_id ORDER BY time) AS before
    FROM lake.samples JOIN lake.series USING (series_id)
    -- Staleness markers are NaN.
    WHERE metric_name = metric AND time > moment - width AND time <= moment AND NOT isnan(value)
), totals AS (
    SELECT series_id, any_value(labels) AS labels, min(ms) AS first, max(ms) AS last, min_by(value, ms) AS first_value,
        max_by(value, ms) - min_by(value, ms) + coalesce(sum(before) FILTER (value < before), 0) AS increase,
        (max(ms) - min(ms)) / (count(*) - 1) AS step,
        epoch_ms(moment - width) AS window_start, epoch_ms(moment) AS window_end
    FROM points GROUP BY series_id HAVING count(*) > 1
), ends AS (
    -- A gap at an end of more than 1.1 steps is not bridged: half a step is.
    SELECT *,
        CASE WHEN first - window_start >= 1.1 * step THEN step / 2 ELSE first - window_start END AS to_start,
        CASE WHEN window_end - last >= 1.1 * step THEN step / 2 ELSE window_end - last END AS to_end,
        -- A counter was not below zero.
        CASE WHEN increase > 0 AND first_value >= 0 THEN (last - first) * first_value / increase END AS to_zero
    FROM totals
)
SELECT series_id, labels, increase * (last - first + least(to_start, coalesce(to_zero, to_start)) + to_end) / (last - first) / epoch(width) AS rate
FROM ends ORDER BY series_id;
